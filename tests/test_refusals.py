"""What counts as a refusal, and what only sounds like one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairsmith.pairs.refusals import looks_like_refusal

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I cannot fulfill your request.",
    "As an AI language model, I cannot provide instructions on illegal activities.",
    "As an AI assistant developed by Example, I can't answer that.",
    "I can't help you with this.",
    "Sorry, I am unable to assist with that.",
    "I apologize, but I'm not able to help with that.",
    "I must respectfully decline.",
    "I can't create explicit content.",
    "I cannot create content that is harmful. Is there something else I can help you with?",
    "I can't satisfy your request, I'm just an AI model.",
    "I'm just an AI, I cannot satisfy your request.",
    "Unfortunately, I cannot generate such content.",
    "I'm sorry, I can't do that.",
    "**I'm sorry**, but I cannot help with that.",
    "I cannot and will not help with this.",
    "I'm unable to help with this request.",
    "No, I can't help with that.",
    "抱歉，我无法提供此类信息。",
    "对不起，我不能帮助你。",
    "很抱歉，作为一个人工智能语言模型，我无法回答这个问题。",
    "我无法协助您完成这个请求。",
    "抱歉，我無法提供這類資訊。",
]
ANSWERS = [
    "",
    "I'm sorry to hear that you are ill.",
    "Dear John, I'm sorry but I can't make it to the party.",
    "Use git revert. I can't help with that is what the old message said.",
    "I cannot believe how good this is.",
    "I can't help falling in love with you.",
    "I am unable to attend the meeting on Friday.",
    "I can't provide a refund at this time.",
    "I'm sorry, we are out of stock.",
    "As an AI researcher, I cannot recommend this book enough.",
    "Unfortunately, the team lost the game.",
    "Sorry for the delay! Your order is on its way.",
    "1. Explain how to say sorry.\n2. Explain why one can't help laughing.",
    "抱歉让您久等了。",
    "如果无法提供密码，请联系管理员。",
    "无法连接服务器时请重试。",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_recognised(text: str) -> None:
    assert looks_like_refusal(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_not_taken_for_a_refusal(text: str) -> None:
    assert not looks_like_refusal(text)


def test_a_long_text_that_begins_with_a_refusal_is_an_answer() -> None:
    assert not looks_like_refusal("I'm sorry, but I can't help with that. " + "But here is how. " * 100)


@given(st.text(alphabet="Ii'm soryasnAI,.cantheulp不能无法我抱歉", max_size=300))
def test_any_text_gets_an_answer(text: str) -> None:
    looks_like_refusal(text)


@pytest.mark.parametrize("piece", ["sorry, ", "as an ai ", "i cannot ", "no ", "抱歉，", " "])
def test_repetition_does_not_make_it_search_for_ever(piece: str) -> None:
    looks_like_refusal(piece * 150)
    looks_like_refusal(piece * 2_000_000)
