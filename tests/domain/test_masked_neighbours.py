"""Spellings of secrets that came through once, their neighbours, and texts that look like them."""

from __future__ import annotations

import pytest

from wopr.domain.masking import is_secret, mask, masked

S = "q8Zr2LmX9vTn4KpW"
SPELLINGS = (
    # a code of OAuth, and schemes
    *("/cb?code={s}&state=1", "code={s}", "cb: code={s}&state=2", "('code={s}', 1)"),
    *("Token {s}", "Authorization: Token {s}", "'Authorization', 'Token {s}'", "token {s} is old"),
    *("WWW-Authenticate: Negotiate {s}==", "NTLM {s}", "ApiKey {s}", "Authorization: ApiKey {s}"),
    # what hashes are made with
    *("salt={s}", "SALT: {s}", "passwordSalt: {s}", "password_salt={s}", "pepper={s}", "cred={s}"),
    # signs and letters
    *("password&colon;{s}", "password&equals;{s}", "password&#58;{s}", "password&#x3D;{s}"),
    *(
        "&quot;password&quot;&colon;&quot;{s}&quot;",
        "ｐａｓｓｗｏｒｄ={s}",
        "ＰＡＳＳＷＯＲＤ：{s}",
    ),
    *("pass\u200bword={s}", "pass\u00adword={s}", "𝐩𝐚𝐬𝐬𝐰𝐨𝐫𝐝: {s}", "ａｐｉ＿ｋｅｙ={s}"),
    *("pass_word={s}", "Pass-Word: {s}", "PASS_WORD='{s}'", "password is: {s}"),
    # the value apart from the name
    *(
        "secret:\n  value: {s}",
        "- name: DB_PASSWORD\n  value: {s}",
        "- name: TOKEN\n  value: '{s}'",
    ),
    *('<Password value="{s}"/>', "<apiKey value='{s}'>", "password, value: {s}"),
    # other languages
    *("hasło={s}", "haslo: {s}", "lösenord={s}", "şifre={s}", "parola={s}", "salasana={s}"),
    *("adgangskode={s}", "heslo={s}", "jelszó={s}", "passord: {s}", "mật khẩu={s}", "암호={s}"),
    *("暗証番号={s}", "סיסמה={s}", "كلمة المرور={s}"),
    # keys and hashes
    "-----begin private key-----\n{s}",
    "-----BEGIN%20PRIVATE%20KEY-----%0A{s}",
    "-----BEGIN+RSA+PRIVATE+KEY-----{s}",
    "ada:$apr1$8Bfv3nwR$gDug13FucR9C{s}",
    "$1$8Bfv3nwR$gDug13FucR9C{s}",
    # what was masked before, and has to stay so
    *("X-Amz-Security-Token={s}", "x-goog-api-key: {s}", "Ocp-Apim-Subscription-Key: {s}"),
    *("postgres://u:{s}@h/db", "redis://:{s}@h:6379/0", "host=h password={s} dbname=d"),
    *("Server=h;Uid=u;Pwd={s};", "AccountKey={s}==;EndpointSuffix=x", "MYSQL_PWD={s}"),
    *("['--password', '{s}']", "--api-key={s}", "curl -u admin:{s} http://x", "sshpass -p {s} ssh"),
    *("user[password]={s}", "password%3D{s}", "spring.datasource.password={s}", "pass phrase: {s}"),
)
HARMLESS = (
    *("token_count=5", "tokenCount: 12", "tokens=812", "max_tokens: 4096", "token_type=bearer"),
    *("author=Jane", "authors: Ann, Bob", "monkey=banana", "turkey=3", "keyboard=qwerty"),
    *("basalt=rock", "Salt Lake City", "a pinch of salt: enough", "peppermint=5", "salt: 5"),
    *("hasLocation=true", "has_location=1", "bypassOrder=5", "bypassOrdinal=5", "parolado=5"),
    *("passport=DE", "passenger=Bob", "compass wordlist=3", "passive=yes", "hesloword=3"),
    *("code=404", "exit code=137", "code=INVALID_ARGUMENT_12", "status code: 200", "?code=404&x=1"),
    *("the token expired yesterday", "Token authentication failed", "the secretary said hello"),
    *("NTLM is not supported", "negotiate a better price", "negotiate connection parameters"),
    *("an API key is needed", "api key missing", "credit=5", "incredible=1", "accredited: 2023"),
    *("-----BEGIN CERTIFICATE-----", "----- begin of report -----", "½ of … the ﬁles", "value: 5"),
    *("password is required", "The password must be 8 characters", "sigma=0.5", "design=modern"),
)


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_secret_is_masked_in_each_spelling(text: str) -> None:
    found = mask(text.format(s=S))
    assert S not in found
    assert "***" in found


@pytest.mark.parametrize("text", HARMLESS)
def test_a_text_that_looks_like_one_stays(text: str) -> None:
    assert text == mask(text)


def test_letters_that_are_read_alike_are_changed_only_where_something_is_masked() -> None:
    assert mask("½ ｐａｓｓ the ﬁles") == "½ ｐａｓｓ the ﬁles"


@pytest.mark.parametrize("name", ["ｐａｓｓｗｏｒｄ", "Pass-Word", "salt", "passwordSalt", "hasło"])
def test_a_value_of_such_a_name_is_masked(name: str) -> None:
    assert is_secret(name)
    assert masked({name: S}) != {name: S}
    assert S not in str(masked({name: [S]}))
