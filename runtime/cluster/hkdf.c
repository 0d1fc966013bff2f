/* hkdf.c - see hkdf.h. */
#include "cluster/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "base/assert.h"
#include "base/mem.h"

#define HKDF_MAGIC 0x686b6466

struct hkdf {
    unsigned magic;
    EVP_KDF_CTX *ctx;
};

/* OpenSSL's parameters point to what may be written; this it only reads. */
static OSSL_PARAM bytes(const char *name, struct slice s)
{
    union {
        const char *given;
        void *taken;
    } p = {.given = s.p};

    return OSSL_PARAM_construct_octet_string(name, p.taken, s.len);
}

struct hkdf *hkdf_new(void)
{
    char sha256[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_end(),
    };
    struct hkdf *h = mem_zalloc(sizeof(*h));
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);

    h->magic = HKDF_MAGIC;
    sd_assert(kdf != NULL);
    h->ctx = EVP_KDF_CTX_new(kdf);
    EVP_KDF_free(kdf);
    sd_assert(h->ctx != NULL && EVP_KDF_CTX_set_params(h->ctx, params) == 1);
    return h;
}

/* The context wipes the secret it saw last. */
void hkdf_free(struct hkdf **hp)
{
    struct hkdf *h = *hp;

    *hp = NULL;
    if (h == NULL)
        return;
    sd_check(h, HKDF_MAGIC);
    h->magic = 0;
    EVP_KDF_CTX_free(h->ctx);
    mem_free(h);
}

void hkdf_make(struct hkdf *h, uint8_t out[HKDF_OUT], struct slice secret,
               struct slice salt, struct slice info)
{
    OSSL_PARAM params[] = {
        bytes(OSSL_KDF_PARAM_KEY, secret),
        bytes(OSSL_KDF_PARAM_SALT, salt),
        bytes(OSSL_KDF_PARAM_INFO, info),
        OSSL_PARAM_construct_end(),
    };

    sd_check(h, HKDF_MAGIC);
    sd_assert(EVP_KDF_derive(h->ctx, out, HKDF_OUT, params) == 1);
}
