/* agree.c - see agree.h.
 *
 * libcrypto fails here only when memory runs out or when it is called in a
 * wrong way, so every answer but "no such public key" is asserted. */
#include "cluster/agree.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/assert.h"

/* X25519 refuses to derive an all-zero secret (RFC 7748, 6.1): that is how
 * points of small order show. */
bool agree_shared(unsigned char *out, const unsigned char *private_key,
                  const unsigned char *public_key)
{
    EVP_PKEY *ours = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
                                                  private_key, AGREE_LEN);
    EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL,
                                                   public_key, AGREE_LEN);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(ours, NULL);
    unsigned char secret[AGREE_LEN];
    size_t n = sizeof(secret);
    bool ok;

    sd_assert(ours != NULL && theirs != NULL && ctx != NULL);
    sd_assert(EVP_PKEY_derive_init(ctx) == 1);
    sd_assert(EVP_PKEY_derive_set_peer(ctx, theirs) == 1);
    ok = EVP_PKEY_derive(ctx, secret, &n) == 1;
    if (ok) {
        sd_assert(n == AGREE_LEN);
        memcpy(out, secret, AGREE_LEN);
    }
    agree_wipe(secret, sizeof(secret));
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(theirs);
    EVP_PKEY_free(ours);
    return ok;
}

void agree_public(unsigned char *out, const unsigned char *private_key)
{
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
                                                 private_key, AGREE_LEN);
    size_t n = AGREE_LEN;

    sd_assert(key != NULL);
    sd_assert(EVP_PKEY_get_raw_public_key(key, out, &n) == 1);
    sd_assert(n == AGREE_LEN);
    EVP_PKEY_free(key);
}

static void mac(unsigned char *out, struct slice key, struct slice bytes)
{
    unsigned n = 0;

    sd_assert(HMAC(EVP_sha256(), key.p, (int)key.len,
                   (const unsigned char *)bytes.p, bytes.len, out, &n) != NULL);
    sd_assert(n == AGREE_LEN);
}

void agree_mac(unsigned char *out, const unsigned char *key, struct slice bytes)
{
    mac(out, slice_make(key, AGREE_LEN), bytes);
}

void agree_extract(unsigned char *out, struct slice salt, struct slice secret)
{
    mac(out, salt, secret);
}

/* One block of HKDF-Expand is all that 32 bytes take. */
void agree_expand(unsigned char *out, const unsigned char *secret,
                  const char *label, struct slice context)
{
    char info[AGREE_INFO_MAX + 1];
    struct slice l = slice_str(label);
    size_t n = l.len + context.len;

    sd_assert(n <= AGREE_INFO_MAX);
    memcpy(info, l.p, l.len);
    memcpy(info + l.len, context.p, context.len);
    info[n] = 1;
    agree_mac(out, secret, slice_make(info, n + 1));
}

void agree_hash(unsigned char *out, struct slice a, struct slice b)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned n = 0;

    sd_assert(ctx != NULL);
    sd_assert(EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1);
    sd_assert(EVP_DigestUpdate(ctx, a.p, a.len) == 1);
    sd_assert(EVP_DigestUpdate(ctx, b.p, b.len) == 1);
    sd_assert(EVP_DigestFinal_ex(ctx, out, &n) == 1 && n == AGREE_LEN);
    EVP_MD_CTX_free(ctx);
}

bool agree_same(const unsigned char *a, const unsigned char *b)
{
    return CRYPTO_memcmp(a, b, AGREE_LEN) == 0;
}

void agree_hide(unsigned char *bytes, size_t n, const unsigned char *key)
{
    static const unsigned char zero[16];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int written;

    sd_assert(ctx != NULL);
    sd_assert(EVP_EncryptInit_ex(ctx, EVP_aes_256_ctr(), NULL, key, zero) == 1);
    sd_assert(EVP_EncryptUpdate(ctx, bytes, &written, bytes, (int)n) == 1);
    sd_assert((size_t)written == n);
    EVP_CIPHER_CTX_free(ctx);
}

void agree_wipe(void *p, size_t n)
{
    OPENSSL_cleanse(p, n);
}
