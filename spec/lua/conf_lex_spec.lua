local lex = require("sd.conf.lex")

local function names(source)
    local list = {}
    for i, m in ipairs(lex.methods(source)) do
        list[i] = m.name .. ":" .. m.line
    end
    return table.concat(list, " ")
end

describe("sd.conf.lex", function()
    it("cuts a source into tokens with lines", function()
        local list = {}
        for i, t in ipairs(lex.tokens('a = "b\\n}" -- c {\n--[[ x\n]] [==[\n]]==] .. 1e5')) do
            list[i] = t.line .. t.kind:sub(1, 1) .. t.text
        end
        assert.equal("1na|1m=|1sb\n}|3s\n]|4m.|4m.|4n1e5",
            table.concat(list, "|"))
    end)

    it("finds the lines of keys, however they are written", function()
        assert.same({ a = 1, ["a.b"] = 2, ["a.1"] = 3, ["a.c d"] = 4,
            ["a.c d.x"] = 4, z = 6 }, lex.lines([[return { a = {
            b = f({ 1, 2 }, function() local p, q = {}, 1 end),
            5,
            ["c d"] = { x = 1 }
        },
        z = "}", [k] = 1 }]]))
    end)

    it("finds them in a table that has a name", function()
        assert.same({ a = 1, ["2"] = 2, ["1"] = 2 },
            lex.lines("local t = { a = 1,\n 'x', 'y' }\nt.b = 2\nreturn t"))
    end)

    it("has no lines for what is computed", function()
        assert.same({}, lex.lines("return make({ a = 1 })"))
        assert.same({}, lex.lines("x = 1"))
        assert.same({}, lex.lines(""))
    end)

    it("finds the functions of what a file returns", function()
        assert.equal("a:2 b:3 c:4 d:6", names([[local M = {
            a = function() local x = { no = function() end } end,
            b = function(_) return 1 end }
        function M.c() M.x = 5 return M end
        local other = {} function other.no() end
        M.d = function() end
        function M.e.no() end
        return M]]))
        assert.equal("a:1", names("return { a = function() end, b = 1 }"))
    end)

    it("ends on every cut of a source", function()
        local source = 'return { a = { b = "c", [1] = [[x]], d = f(1) }, } -- x'
        for n = 0, #source do
            assert.is_table(lex.lines(source:sub(1, n)))
            assert.is_table(lex.methods(source:sub(n)))
        end
    end)
end)
