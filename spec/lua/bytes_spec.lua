-- sd.bytes and sd.crypto, as a module (spec/support/binds.c).
local build = os.getenv("SD_BUILD") or "build/dev"
local binds = assert(package.loadlib(build .. "/sdbinds.so", "luaopen_sdbinds"))()
local pack, unpack_, hex, unhex = binds.pack, binds.unpack, binds.hex, binds.unhex

describe("sd.bytes", function()
    it("packs as Lua 5.3 does", function()
        local cases = {
            { "02ff", "bb", 2, -1 }, { "ff", "B", 255 }, { "3412", "<H", 0x1234 },
            { "1234", ">H", 0x1234 }, { "fffe", ">h", -2 }, { "010203", ">I3", 0x010203 },
            { "feffff", "<i3", -2 }, { "0000003f", "<f", 0.5 }, { "3fe0000000000000", ">d", 0.5 },
            { "0003616263", ">s2", "abc" }, { "61626300", "z", "abc" }, { "61620000", "c4", "ab" },
            { "0100000002000000", "<!4 b i4", 1, 2 }, { "0100", "bx", 1 },
            { "010000000200000000000000", "<!4bXi4i8", 1, 2 },
            { "0000000000000001", ">j", 1 }, { "ffffffffffffffff", "<J", "18446744073709551615" },
            { "8000000000000000", ">j", "-9223372036854775808" },
            { "ffffffffffffffffffffffffffffffff", "<i16", -1 },
            { "00000000000000000000000000000007", ">I16", 7 }, { "", "" },
            { "01ffffffffffff1f00", "<bj", 1, 2 ^ 53 - 1 },
        }
        for _, case in ipairs(cases) do
            local n = #case - 2
            local bytes = pack(case[2], unpack(case, 3))
            assert.equal(case[1], hex(bytes), case[2])
            local back = { unpack_(case[2], bytes) }
            assert.equal(#bytes + 1, back[n + 1], case[2])
            for i = 1, n do
                local want = case[2 + i]
                if case[2] == "c4" then
                    want = "ab\0\0"
                end
                assert.equal(want, back[i], case[2])
            end
        end
    end)

    it("keeps integers exact or as digits", function()
        assert.equal(2 ^ 53, (unpack_("<j", pack("<j", 2 ^ 53))))
        assert.equal("9007199254740993", (unpack_("<j", pack("<j", "9007199254740993"))))
        assert.equal("-9007199254740993", (unpack_(">j", pack(">j", "-9007199254740993"))))
        assert.equal(-12, (unpack_("b", pack("b", "-12"))))
    end)

    it("unpacks from a position, also from the end", function()
        local a, at = unpack_("B", "\1\2\3", 2)
        assert.same({ 2, 3 }, { a, at })
        assert.equal(3, (unpack_("B", "\1\2\3", -1)))
        assert.equal(4, (unpack_("", "\1\2\3", 4)))
    end)

    it("raises what cannot be packed or unpacked", function()
        local bad_pack = {
            { "b", 128 }, { "b", -129 }, { "B", -1 }, { "B", 256 }, { "H", 65536 },
            { "i4", 2 ^ 31 }, { "j", 2 ^ 60 }, { "j", "9223372036854775808" },
            { "J", "18446744073709551616" },
            { "i4", 1.5 }, { "i4", "x" }, { "i4", "" }, { "i4", "-" }, { "i4" }, { "d", "x" },
            { "z", "a\0b" }, { "c1", "ab" }, { "c", "ab" }, { "s1", ("x"):rep(256) },
            { "q", 1 }, { "i17", 1 }, { "i0", 1 }, { "X" }, { "Xz" }, { "Xc1" }, { "!3i8", 1 },
            { "!4i3", 1 }, { "c99999999999", "" }, { 7 }, { "s", {} }, { "j", 0 / 0 },
            { "j", 1 / 0 }, { "c20000c20000s", "" },
        }
        for _, case in ipairs(bad_pack) do
            local ok, err = pcall(pack, unpack(case, 1, 2))
            assert.is_false(ok, tostring(case[1]))
            assert.matches("^bad ", err)
        end
        local bad_unpack = {
            { "i4", "abc" }, { "s1", "\2a" }, { "z", "abc" }, { "c4", "abc" }, { "B", "a", 3 },
            { "B", "a", 0 }, { "B", "a", -3 }, { "B", "a", 1.5 }, { "B", "a", "x" }, { "q", "a" },
            { "B" }, { "s8", ("\255"):rep(16) },
            { "i16", ("\1"):rep(16) }, { "I9", ("\255"):rep(9) },
        }
        for _, case in ipairs(bad_unpack) do
            assert.is_false((pcall(unpack_, unpack(case, 1, 3))), case[1])
        end
    end)

    it("brings back what it packed", function()
        local seed = os.time() % 100000
        math.randomseed(seed)
        local makers = {
            b = function() return math.random(-128, 127) end,
            H = function() return math.random(0, 65535) end,
            i3 = function() return math.random(-2 ^ 23, 2 ^ 23 - 1) end,
            I5 = function() return math.random(0, 2 ^ 31 - 1) * 256 end,
            j = function() return math.random(-2 ^ 31, 2 ^ 31 - 1) * 2 ^ 20 end,
            d = function() return math.random() * 2 ^ math.random(-99, 99) end,
            s2 = function() return ("y"):rep(math.random(0, 300)) end,
            z = function() return ("z"):rep(math.random(0, 30)) end,
            c7 = function() return ("c"):rep(7) end,
        }
        local names = {}
        for name in pairs(makers) do
            names[#names + 1] = name
        end
        table.sort(names)
        for _ = 1, 2000 do
            local format, values = { ({ "<", ">", "=" })[math.random(3)] }, {}
            for i = 1, math.random(8) do
                local name = names[math.random(#names)]
                values[i] = makers[name]()
                format[#format + 1] = name
            end
            format = table.concat(format, " ")
            local bytes = pack(format, unpack(values))
            local back = { unpack_(format, bytes) }
            assert.equal(#bytes + 1, table.remove(back), format)
            assert.same(values, back, "seed " .. seed .. " " .. format)
        end
    end)

    it("writes and reads hexadecimal and base64", function()
        local cases = {
            { "", "", "" }, { "f", "66", "Zg==" }, { "fo", "666f", "Zm8=" },
            { "foo", "666f6f", "Zm9v" }, { "foob", "666f6f62", "Zm9vYg==" },
            { "fooba", "666f6f6261", "Zm9vYmE=" }, { "foobar", "666f6f626172", "Zm9vYmFy" },
            { "\0\255\254\127", "00fffe7f", "AP/+fw==" },
        }
        for _, case in ipairs(cases) do
            assert.equal(case[2], hex(case[1]))
            assert.equal(case[1], unhex(case[2]))
            assert.equal(case[1], unhex(case[2]:upper()))
            assert.equal(case[3], binds.base64(case[1]))
            assert.equal(case[1], binds.unbase64(case[3]))
            local web = case[3]:gsub("=", ""):gsub("+", "-"):gsub("/", "_")
            assert.equal(case[1], binds.unbase64(web))
        end
        for _, text in ipairs({ "6", "6g", "x", "  " }) do
            local ok, err = unhex(text)
            assert.is_nil(ok)
            assert.matches("^invalid: ", err)
        end
        for _, text in ipairs({ "Z", "Zg=", "Zg===", "Zh==", "Zm9=", "Z g=", "Zg=a", "=" }) do
            local ok, err = binds.unbase64(text)
            assert.is_nil(ok, text)
            assert.matches("^invalid: ", err)
        end
    end)

    it("sums as the catalogues say", function()
        assert.equal(0x4B37, binds.crc16("123456789", "modbus"))
        assert.equal(0x29B1, binds.crc16("123456789", "ccitt"))
        assert.equal(0xFFFF, binds.crc16("", "ccitt"))
        assert.equal(0xCBF43926, binds.crc32("123456789"))
        assert.equal(0, binds.crc32(""))
        assert.is_false((pcall(binds.crc16, "x", "other")))
        assert.is_false((pcall(binds.crc16, "x")))
    end)
end)

describe("sd.crypto", function()
    it("hashes known texts", function()
        local cases = {
            { "md5", "", "d41d8cd98f00b204e9800998ecf8427e" },
            { "sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
            { "sha256", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
            { "sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        }
        for _, case in ipairs(cases) do
            assert.equal(case[3], hex(binds.hash(case[1], case[2])))
        end
        assert.equal(64, #binds.hash("sha512", "x"))
    end)

    it("keys hashes as RFC 4231 says", function()
        local cases = {
            { ("\11"):rep(20), "Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
            { "Jefe", "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
            { ("\170"):rep(20), ("\221"):rep(50),
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
            { ("\170"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
        }
        for _, case in ipairs(cases) do
            assert.equal(case[3], hex(binds.hmac("sha256", case[1], case[2])))
        end
    end)

    it("raises what it does not know", function()
        for _, alg in ipairs({ "sha257", "", "shake256" }) do
            local ok, err = pcall(binds.hash, alg, "x")
            assert.is_false(ok)
            assert.equal("unknown algorithm '" .. alg .. "'", err)
            assert.is_false((pcall(binds.hmac, alg, "k", "x")))
        end
        assert.is_false((pcall(binds.hash, nil, "x")))
        assert.is_false((pcall(binds.hash, "sha256", 5)))
        for _, n in ipairs({ -1, 1.5, 2 ^ 21, 0 / 0, "x" }) do
            assert.is_false((pcall(binds.random, n)))
        end
    end)

    it("gives other bytes each time", function()
        assert.equal("", binds.random(0))
        assert.equal(32, #binds.random(32))
        assert.not_equal(binds.random(16), binds.random(16))
    end)

    it("compares", function()
        assert.is_true(binds.equal("abc", "abc"))
        assert.is_true(binds.equal("", ""))
        assert.is_false(binds.equal("abc", "abd"))
        assert.is_false(binds.equal("abc", "ab"))
    end)
end)
