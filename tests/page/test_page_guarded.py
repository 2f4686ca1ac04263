"""The page of a node that wants tokens: signing in, what a role allows, and who published."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from tests.page.browser import Browser

from repertory.actors.local_node import LocalNode
from repertory.config import Role
from repertory.http.tokens import TokenFile, make_token
from repertory.models.signing import SigningKey, Statement

SignIn = Callable[..., str]


@pytest.fixture
def signed_out(shared_browser: Browser, guarded_node: LocalNode) -> Iterator[Browser]:
    """A window with the page of that node, where nobody is signed in."""
    TokenFile(guarded_node.paths.tokens).add(make_token(("admin",))[1])
    shared_browser.look()
    shared_browser.driver.get("about:blank")
    shared_browser.driver.get(f"{guarded_node.url}/#/wine")
    shared_browser.run("sessionStorage.clear()")
    shared_browser.driver.refresh()
    shared_browser.wait_for("#sign-in-why", "no token")
    yield shared_browser
    assert shared_browser.console() == []


@pytest.fixture
def sign_in(guarded_node: LocalNode, signed_out: Browser) -> SignIn:
    """Make a token, and sign in with it; its identifier."""

    def enter(*roles: Role, name: str = "", data_types: tuple[str, ...] = ()) -> str:
        lasts = timedelta(hours=1)
        secret, kept = make_token(roles, name=name, data_types=data_types, lasts=lasts)
        TokenFile(guarded_node.paths.tokens).add(kept)
        signed_out.fill("#sign-in input", secret)
        signed_out.find("#sign-in input").send_keys(Keys.ENTER)
        signed_out.wait_for("#who", f"token {kept.id}")
        return kept.id

    return enter


def test_a_wrong_token_is_told_and_tried_again(signed_out: Browser, sign_in: SignIn) -> None:
    assert signed_out.find("#sign-in input").is_displayed()
    assert not signed_out.find("#stage").is_displayed()
    signed_out.fill("#sign-in input", "wrong")
    signed_out.find("#sign-in input").send_keys(Keys.ENTER)
    signed_out.wait_for("#sign-in-why", "unknown token")
    assert signed_out.serious_problems() == []
    sign_in("read")
    signed_out.wait_for("#connection", "live")
    assert signed_out.find("#stage").is_displayed()
    assert not signed_out.find("#sign-in input").is_displayed()


def test_what_a_role_does_not_allow_is_disabled_and_said_why(
    signed_out: Browser, sign_in: SignIn
) -> None:
    token = sign_in("read", name="eyes")
    signed_out.wait_for("#try-why", f"this needs the role score; token {token} (eyes) has read")
    signed_out.wait_for("#upload-why", "this needs the role publish")
    assert not signed_out.find("#upload button").is_enabled()
    assert not signed_out.find("#try input").is_enabled()
    assert signed_out.serious_problems() == []


def test_a_reload_stays_signed_in_and_signing_out_does_not(
    signed_out: Browser, sign_in: SignIn
) -> None:
    sign_in("read")
    signed_out.driver.refresh()
    signed_out.wait_for("#connection", "live")
    signed_out.find("#sign-out").send_keys(Keys.ENTER)
    signed_out.wait_for("#sign-in-why", "signed out")
    signed_out.driver.refresh()
    signed_out.wait_for("#sign-in-why", "no token")


def test_a_token_that_is_revoked_is_told_of_and_another_goes_on(
    guarded_node: LocalNode, signed_out: Browser, sign_in: SignIn
) -> None:
    TokenFile(guarded_node.paths.tokens).remove(sign_in("read"))
    signed_out.wait_for("#sign-in-why", "unknown token")
    assert signed_out.find("#sign-in input").is_displayed()
    sign_in("read")
    signed_out.wait_for("#connection", "live")


def test_a_token_for_one_data_type_is_told_that_the_page_is_of_all(
    signed_out: Browser, sign_in: SignIn
) -> None:
    sign_in("publish", data_types=("wine",))
    signed_out.wait_for("#connection", "this needs a role for all data types")


def test_who_published_is_shown_and_a_signature_goes_along(
    guarded_node: LocalNode, signed_out: Browser, sign_in: SignIn, wine_models: Path, tmp_path: Path
) -> None:
    token, model = sign_in("publish", name="release"), wine_models / "05-mlp.onnx"
    signed_out.wait_for("#connection", "live")
    key = SigningKey.read(guarded_node.config_path.with_name("key.pem"))
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    signature = tmp_path / "05-mlp.onnx.sig"
    signature.write_text(key.sign(Statement(digest, "ONNX", "wine")) + "\n")
    send(signed_out, model, None)
    signed_out.wait_for("#upload-result", "the model is not signed")
    send(signed_out, model, signature)
    signed_out.wait_for("#upload-result", ": SERVING")
    publisher = f"token {token} (release), signed by {key.fingerprint}"
    signed_out.wait(lambda: signed_out.fact("published by") == publisher, "who published is shown")
    assert f"by {publisher}" in signed_out.text("#versions > li:first-child .muted")


def send(browser: Browser, model: Path, signature: Path | None) -> None:
    """Upload a model by the form."""
    browser.fill("#upload [name=name]", "perceptron")
    browser.find("#upload [name=file]").send_keys(str(model))
    if signature is not None:
        browser.find("#upload [name=signature]").send_keys(str(signature))
    browser.find("#upload button").send_keys(Keys.ENTER)
