"""Text that should harm whoever shows it: markup, escapes, invisible characters, sizes. Ours, for every class that a
model, a server or a file can write."""

from __future__ import annotations

MARKUP = (
    "array[/0] and [/]",
    "[b foo='bar",
    "([sys:LOCK=SAFE…])",
    "[@click=app.quit]Press here[/]",
    "[$error]red[/]",
    "[link='file:///etc/passwd']x[/link]",
    "[red on blue]x",
    "[[[]]] [/b][/i]",
    "\\[escaped] \\",
    "{} {0} {name} %s %(x)s $name ${x}",
)
ESCAPES = (
    "\x1b[2J\x1b[3J\x1b[Hcleared",
    "\x1b[?1049l left",
    "\x1b[?1000l\x1b[?1003h mouse",
    "\x1b[6n\x1b[c report",
    "\x1bP+q544e\x1b\\ DCS",
    "\x1b]0;title\x07 \x1b]0;title\x1b\\ \x1b]2;t\x07",
    "\x1b]52;c;cm0gLXJmIC8=\x07 \x1b]52;c;cm0gLXJmIC8=\x1b\\",
    "\x1b]8;;file:///etc/passwd\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]1337;File=inline=1:AAAA\x07",
    "\x9b2J\x9b31m C1 CSI",
    "\x9d0;c1 title\x9c \x90q\x9c \x98\x9e\x9f",
    "\x0e\x0f shifts \x1b(0lqk\x1b(B",
    "\x07\x08\x0b\x0c bell, back, tab, form",
    "over\rwritten\x08\x08\x08",
    "\x7f\x01\x02\x03\x04\x1a\x1c\x1d\x1e\x1f",
    "\x1b_apc\x1b\\ \x1b^pm\x1b\\ \x1bXsos\x1b\\",
    "\x1bc reset \x1b[!p soft \x1b[1;1r region \x1b7 \x1b8",
    "\x1b[200~pasted\x1b[201~",
    "\x1b[38;5;196mred\x1b[0m \x1b[5mblink",
    "lone \x1b",
    "\x1b[",
    "\x1b]",
)
UNICODE = (
    "‮reversed‬ \u202a\u202b\u202d \u2066a\u2067b\u2068c\u2069 \u200e\u200f \u061c",
    "zero\u200bwidth\u200cjoin\u200dand\ufeffBOM \u2060\u2061\u2062\u2063\u2064",
    "tags \U000e0041\U000e0042\U000e007f",
    "zalgo " + "a" + "\u0301" * 200 + "b" + "\u20dd" * 50,
    "fillers \u115f\u1160\u3164\uffa0 \u2800",
    "selectors a\ufe00b\U000e0100c",
    "lines\u2028and\u2029paragraphs\x85next",
    "soft\u00adhyphen \u034f \u17b4\u17b5 \u180e",
    "emoji 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 ✈️ 1️⃣",
    "wide 中文字符 한국어 日本語 ｆｕｌｌ",
    "فارسی می‌خواهم עברית",
    "private \ue000\uf8ff\U000f0000 non\ufffe\uffff\ufdd0",
    "tab\there\tand\tthere",
    "combining e\u0301 n\u0303 ก็ नमस्ते",
)
SIZES = (
    "\n" * 300_000,
    "x" * 300_000,
    "中" * 100_000,
    " " * 100_000 + "end",
    "word " * 60_000,
    "\x1b[2J" * 50_000,
    "a\u0301" * 50_000,
)
MARKDOWN = (
    "[click](javascript:alert(1)) ![img](file:///etc/passwd)",
    "| a | b |\n|---|---|\n| [x](y) | `[/]` |",
    "<script>alert(1)</script> <b>html</b> &lt;",
    "```\n[/]\n\x1b[2J\n```",
)
CORPUS = (*MARKUP, *ESCAPES, *UNICODE, *SIZES, *MARKDOWN)
SHORT = (*MARKUP, *ESCAPES, *UNICODE, *MARKDOWN)
