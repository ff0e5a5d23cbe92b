"""A secret is not shown in whatever form it stands beside its name, and harmless texts stay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wopr.domain.masking import LONGEST, MASK, mask, masked
from wopr.domain.tokens import load_library_rules

SECRET = "hunter2xQ9"
NAMES = (
    *("password", "passwd", "pwd", "PGPASSWORD", "dbPassword", "DB_PASS", "smtp_pass", "userpass"),
    *("secret", "client_secret", "SECRET_KEY", "passphrase", "credentials", "creds", "otp", "jwt"),
    *("token", "access_token", "refreshToken", "aws_session_token", "bearer", "csrf_token"),
    *("api_key", "apikey", "X-Api-Key", "AWS_SECRET_ACCESS_KEY", "account_key", "private_key"),
    *("authorization", "Proxy-Authorization", "auth", "cookie", "Set-Cookie", "sessionid"),
    *("signature", "sig", "hmac", "GITHUB_PAT"),
)
FORMS = {
    "assigned": "{n}={s}",
    "assigned with blanks": "{n} = {s} and more",
    "colon": "{n}: {s}",
    "a wide colon": "{n}：{s}",
    "a wide sign": "{n}＝{s}",
    "quoted": "{n}='{s}' x",
    "a quotation in it": '{n}="it\'s {s}"',
    "a quotation mark in a bare one": "{n}=it's{s}",
    "json": '{{"{n}": "{s}", "user": "ada"}}',
    "json without blanks": '{{"{n}":"{s}","user":"ada"}}',
    "json over lines": '{{\n  "{n}":\n    "{s}"\n}}',
    "json in json": r"{{\"{n}\": \"{s}\"}}",
    "json in json in json": r"{{\\\"{n}\\\": \\\"{s}\\\"}}",
    "nested": '{{"{n}": {{"a": {{"b": "{s}"}}}}}}',
    "dict": "{{'{n}': '{s}', 'user': 'ada'}}",
    "a list": "{n}=['x', '{s}']",
    "a list in json": '{{"{n}": ["x", "{s}"]}}',
    "a set": "{n}={{'{s}'}}",
    "a dict": "{n}={{'value': '{s}'}}",
    "a call": "{n}=SecretStr('{s}')",
    "a call with keywords": "{n}=Secret(value='{s}', id=3)",
    "a call in a dict": "{{'{n}': SecretStr('{s}')}}",
    "an argument": "login('ada', {n}='{s}')",
    "an annotated argument": "def f({n}: str = '{s}')",
    "a call over lines": "{n}=(\n    'a'\n    '{s}'\n)",
    "in angles": "{n}=<Secret {s}>",
    "a pair": "('{n}', '{s}')",
    "a pair in a list": "[('host', 'x'), ('{n}', '{s}')]",
    "a pair in json": '["{n}", "{s}"]',
    "a setter": "putenv('{n}', '{s}')",
    "a setter with keywords": "set('{n}', '{s}', secure=True)",
    "bytes": "{{b'{n}': b'{s}'}}",
    "a pair of bytes": "[(b'host', b'x'), (b'{n}', b'Basic {s}')]",
    "argv": "['cmd', '--{n}', '{s}']",
    "argv with a sign": "['cmd', '--{n}={s}']",
    "a command": "cmd --{n} {s} file",
    "a quoted option": "cmd --{n} 'two {s}' file",
    "a header": "{n}: Basic {s}\r\nHost: x",
    "a bearer": "{n}: Bearer {s}",
    "a header of curl": "curl -H '{n}: {s}' https://h",
    "a raw request": r"b'GET / HTTP/1.1\r\n{n}: {s}\r\nHost: x'",
    "a query": "https://h/p?a=1&{n}={s}&b=2",
    "a quoted query": "%22{n}%22%3A%22{s}%22 and {n}%3D{s}",
    "a form": "user[{n}]={s}",
    "the environment": "os.environ['{n}'] = '{s}'",
    "a shell": "export {n}={s}",
    "a manifest": '{{"name": "{n}", "value": "{s}"}}',
    "a form in HTML": '<input name="{n}" value="{s}">',
    "a tag": "<{n}>{s}</{n}>",
    "escaped HTML": "&quot;{n}&quot;: &quot;{s}&quot;",
    "a block of YAML": "a: 1\n{n}: |\n  line\n  {s}\nb: 2",
    "a list of YAML": "{n}:\n  - x\n  - {s}",
    "three quotation marks": '{n}="""a\n{s}\n"""',
    "a text over lines": "{{'{n}': 'aaaa'\n  '{s}'}}",
    "two texts": "{n}='a' + '{s}'",
    "ODBC": "Server=x;{n}={s};Database=y",
    "an arrow": "'{n}' => '{s}'",
    "cut off": '{{"{n}": "{s}',
    "a list cut off": "{n}=['{s}",
    "an index": "{n}[0]={s}",
    "an index in quotation marks": "{n}['new'] = '{s}'",
    "an arrow of a sentence": "{n} → {s}",
    "an arrow of two signs": "{n} -> {s}",
    "that was provided": "Incorrect {n} provided: {s}",
    "that is so": "the {n} is {s} there",
    "YAML in a list": "- {n}: {s}\n  user: ada",
    "a repr in a repr": "Config(db=Db({n}='{s}'), x=1)",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_the_whole_value_beside_the_name_of_a_secret_is_masked(form: str) -> None:
    texts = [form.format(n=name, s=SECRET) for name in NAMES]
    assert [] == [shown for text in texts if SECRET in (shown := mask(text)) or MASK not in shown]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=['a', 'b'] user=ada", "password=*** user=ada"),
        ("f(password=SecretStr('a'), user='ada')", "f(password=***, user='ada')"),
        ("(b'authorization', b'Basic eA==')", "(b'authorization', b'***')"),
        ("['--password', 'x', '--user', 'ada']", "['--password', '***', '--user', 'ada']"),
        ('{"password": ["a"], "user": 1}', '{"password": "***", "user": 1}'),
        ("auth=('ada', 'x') timeout=3", "auth=*** timeout=3"),
        ("https://h/a?sig=aB3%2F&page=1", "https://h/a?sig=***&page=1"),
        ("https://h/a?key=AbCdEfGhIjKl1234&page=1", "https://h/a?key=***&page=1"),
        ("https://TOKEN@host/x", "https://***@host/x"),
        ("https://a1b2c3@host/x", "https://***@host/x"),
        (
            'Authorization: Digest username="a", response="x"\nHost: h',
            "Authorization: ***\nHost: h",
        ),
        ("passphrase: correct horse battery", "passphrase: ***"),
        ("Invalid password 'hunter2'", "Invalid password '***'"),
        ("the password is hunter2", "the password is ***"),
        ("CREATE USER a IDENTIFIED BY 'x'", "CREATE USER a IDENTIFIED BY ***"),
        ("machine h login a password x", "machine h login a password ***"),
        ("sent Basic YWRhOmh1bnRlcjI= there", "sent Basic *** there"),
        ("got SecretStr('x') of ada", "got SecretStr(***) of ada"),
        ("HTTPBasicAuth('ada', 'x'), 3", "HTTPBasicAuth(***), 3"),
        ("Secret(value='x')", "Secret(***)"),
        ("curl -u ada:x https://h", "curl -u ada:*** https://h"),
        ("['curl', '--user', 'ada:x']", "['curl', '--user', 'ada:***']"),
        ("low_pass=0.5 auth=None pin=12", "low_pass=0.5 auth=None pin=12"),
    ],
)
def test_what_stands_around_a_secret_stays(text: str, expected: str) -> None:
    assert expected == mask(text)
    assert expected == mask(expected)


def test_a_bracket_that_a_line_of_a_traceback_leaves_open_hides_no_other_line() -> None:
    trace = (
        'Traceback (most recent call last):\n  File "/srv/app.py", line 3, in send\n'
        '    connect(password=SecretStr(\n  File "/srv/app.py", line 9, in connect\n'
        "    raise ValueError(3)\nValueError: 3\n"
    )
    assert trace.replace("SecretStr(", MASK) == mask(trace)


LETTERS = (
    "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA1bC2dE3fG4hI5jK6lM7nO8pQ9rS0tU1vW2xY3zA4bC5dE6fG7hI8jK9lM0n"
)
DIGITS = "0123456789abcdef" * 5
TOKENS = {  # in parts, so that no scanner of sources takes them for real ones
    "Amazon": "AKIA" + "IOSFODNN7EXAMPLE",
    "GitHub": "ghp_" + LETTERS[:36],
    "wopr": "wopr_" + LETTERS[:43],
    "a session of wopr": "WyJhZGEiLCA" + LETTERS[:90] + "=." + DIGITS[:64],
    "GitHub, fine-grained": "github_pat_" + LETTERS[:82],
    "GitLab": "glpat-" + LETTERS[:20],
    "Slack": "xoxb-" + "123456789012-" + LETTERS[:24],
    "Slack's hook": "https://hooks.slack.com/services/" + "T0000/B0000/" + LETTERS[:24],
    "Stripe": "sk_live_" + LETTERS[:24],
    "a model": "sk-proj-" + LETTERS[:48],
    "another model": "sk-ant-api03-" + LETTERS[:90],
    "Google": "AIza" + LETTERS[:35],
    "SendGrid": "SG." + LETTERS[:22] + "." + LETTERS[:43],
    "Mailchimp": DIGITS[:32] + "-us12",
    "Twilio": "SK" + DIGITS[:32],
    "npm": "npm_" + LETTERS[:36],
    "PyPI": "pypi-AgEIcHlwaS5vcmc" + LETTERS[:70],
    "Hugging Face": "hf_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "DigitalOcean": "dop_v1_" + DIGITS[:64],
    "Shopify": "shpat_" + DIGITS[:32],
    "Telegram": "12345678:AA" + LETTERS[:33],
    "Discord": "M" + LETTERS[:23] + "." + LETTERS[:6] + "." + LETTERS[:27],
    "Databricks": "dapi" + DIGITS[:32],
    "Vault": "hvs." + LETTERS[:24],
    "Azure storage": LETTERS[:86] + "==",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0." + LETTERS[:43],
    "bcrypt": "$2b$12$" + LETTERS[:53],
    "argon2": "$argon2id$v=19$m=65536,t=3,p=4$" + LETTERS[:22] + "$" + LETTERS[:43],
    "Django": "pbkdf2_sha256$600000$abc$" + LETTERS[:43] + "=",
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS.keys())
def test_a_well_known_token_is_masked_without_a_name(token: str) -> None:
    for form in ("{}", "got {} back", "x={}", "['{}']", "https://h/{}/x", "a,{},b", "\n{}\n"):
        shown = mask(form.format(token))
        assert token[-12:] not in shown
        assert MASK in shown


def test_the_rules_of_a_library_count_too_where_it_is_installed() -> None:
    pytest.importorskip("detect_secrets")
    load_library_rules()
    for token in ("sk_live_" + LETTERS[:24], "https://api.softlayer.com/soap/v3/" + DIGITS[:64]):
        assert MASK in mask(token)


@pytest.mark.parametrize("kind", ["PRIVATE KEY", "RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
@pytest.mark.parametrize("end", ["\n", "\\n"])
def test_a_private_key_is_masked_whole_or_cut_off_at_either_end(kind: str, end: str) -> None:
    lines = [f"-----BEGIN {kind}-----", *[LETTERS[:64]] * 4, f"-----END {kind}-----"]
    whole, cut, rest = end.join(lines), end.join(lines[:-1]), end.join(lines[2:])
    for text in (f"key {whole} after", f"key {cut}", rest):
        assert LETTERS[:20] not in mask(text)
    assert mask(f"key {whole} after").endswith(" after")


COMMANDS = (
    *("mysql -u root -p{s} shop", "mysql -p {s}", "/usr/bin/mysqldump -h h -p'{s}' --all"),
    *("['mysql', '-u', 'root', '-p{s}']", "['mysqladmin','-p','{s}','ping']", "mysql.exe -p{s}"),
    *("docker exec db mysql -p{s} -e 'select 1'", "sudo mariadb -p{s}; mysqladmin -p{s} ping"),
    *("sshpass -p {s} ssh ada@h", "redis-cli -h h -a {s} ping", "mongosh -u ada -p {s}"),
    *("ldapsearch -D x -w {s}", "sqlcmd -U sa -P {s}", "zip -P {s} a b", "7z x -p{s} a"),
    *("docker login -u ada -p {s} r", "['docker','login','-p','{s}']", "az login -p {s}"),
    *("smbclient -U ada%{s} //h/x", "openssl enc -pass pass:{s}", "keytool -storepass {s}"),
    *("curl -uada:{s} https://h", "jdbc:oracle:thin:ada/{s}@h:1521/x", "AUTHORIZATION BEARER {s}"),
)
SENTENCES = (
    *("the password is {s}", "my password is '{s}'.", "password of ada is {s}", "password was {s}"),
    *("password changed to {s}", "the passphrase is now {s}", "password equals {s}"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_short_options_of_known_programs_are_masked(command: str) -> None:
    for secret in (SECRET, "correcthorse", "a.b/c+d=e!f"):
        shown = mask(command.format(s=secret))
        assert secret not in shown
        assert MASK in shown
        assert shown == mask(shown)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_that_tells_a_password_is_masked(sentence: str) -> None:
    for secret in (SECRET, "correcthorse", "S3cr3t!", "Zaq12wsx"):
        assert secret not in mask(sentence.format(s=secret))


@given(
    st.sampled_from(NAMES),
    st.sampled_from(sorted(FORMS)),
    st.from_regex(r"[A-Za-z][A-Za-z0-9_.+/~!*-]{2,24}[0-9][A-Za-z]", fullmatch=True),
    st.text(alphabet=" .,:xyz\n", max_size=20),
)
def test_no_secret_beside_its_name_is_shown(name: str, form: str, secret: str, other: str) -> None:
    assert secret not in mask(f"{other} {FORMS[form].format(n=name, s=secret)} {other}")


def test_the_words_of_a_command_are_masked_in_a_list() -> None:
    assert ["sudo", "/usr/bin/mysql", "-u", "root", "-p***", "-p", MASK, "-P", "3306"] == masked(
        ["sudo", "/usr/bin/mysql", "-u", "root", "-px", "-p", "x", "-P", "3306"]
    )
    assert ["docker", "login", "-p", MASK] == masked(["docker", "login", "-p", "x"])
    assert ["docker", "run", "-p", "80:80"] == masked(["docker", "run", "-p", "80:80"])
    assert ["ssh", "-p", "22", 7] == masked(["ssh", "-p", "22", 7])


HARMLESS = """\
Unexpected token '}' in JSON at position 4
unexpected token "x"
pass: 10, fail: 2
Use --password to set it, or --token and a file
primary_key=17 foreign_key='a' idempotency_key='order-17' key=value sort_keys=True
completion_tokens=55, prompt_tokens=7
bypass: yes, compass=north, passport: x, passenger: Ada, Passed: 3, passing a list
authored by: Ada, authenticated: yes, authority: none
auth: failed
signature: (a, b)
send(token: str, user: str) -> None
def f(password: str | None, n: int): pass
Basic authentication is required, bearer token missing
ssh://git@github.com/org/repo git@github.com:org/repo.git postgres://app@db:5432/shop
File "/srv/app/tasks.py", line 12, in send
0123456789abcdef0123456789abcdef 3f2504e0-4f89-11d3-9a0c-0305e82c3301
sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
2026-11-30T00:22:11.123456+00:00
KeyError: 'password'
TypeError: login() missing 1 required positional argument: 'password'
columns ['id', 'password', 'email']
HTTP 401 Unauthorized for url: https://api.example.com/v1/items?page=2&sort=name
?code=404&page=1
tokenizer=bert tokenization: done secretariat: Brussels monkey: 3 keyboard: us
the password must have 8 characters
password is required, token is invalid, Wrong password
docker run -u 1000:1000 --user 0:0 image
docker run -p 8080:80 image, ssh -p 22 ada@h, psql -p 5432 -U ada, mkdir -p a/b, mysql -P 3306 -h h
mysql: command not found; mysql -p to be asked; mysql -h h -p --batch; mysql://h/db -p
the password is required, the password is not set, password is too short, the password was wrong
your password is invalid. password was rejected by the server; password is case-sensitive
the token is invalid, the secret is rotated every 30 days, the API key is missing, token was expired
def check_password(self, raw): return tokens(raw)
opinion: good spin=3 design: new signal=9 sigma=0.5 assign: x desktop=1 pin: 12
wopr tasks retry 01890a5d-ac96-774b-bcce-b302099a8057
secrets: none credentials: None password=None {"token": null, "password": false}
x-request-id: 9f86d081884c7d659a2feaa0c55ad015
Task 'send' (attempt 2 of 3) ran longer than its timeout of 30 s
a/b/c/d/e/f/g/h/i/j/k/l/m ThisIsAVeryLongClassNameWithoutAnything.method_of_it
"""


@pytest.mark.parametrize("text", HARMLESS.splitlines())
def test_a_harmless_text_stays(text: str) -> None:
    assert text == mask(text)


@pytest.mark.parametrize(
    "part",
    [
        *("password=[", "password=<", "('password',", "--token ", "password: |\n  ", "a.b@"),
        *("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "A\n", "eyJaaaaaa.", "://"),
        *(
            "://a@",
            "password=a;",
            "pass",
            "auth ",
            "token='",
            "token:\\'",
            "sk-",
            "&sig=",
            "basic ",
        ),
        *(
            "SecretStr('",
            "SecretStr(",
            "-u ",
            "-u a:",
            "login a password ",
            "password' value",
            "<password ",
            'authorization: ="',
            "keykey",
            "mysql -p ",
            "mysql -",
            "docker login ",
            "password is ",
            "password[a]",
            "jdbc:oracle:a:",
        ),
        *(
            '\n File "a", line 1',
            "token:\n- ",
            "token: - ",
            "password: str = ",
            "AKIA",
            "'((",
            "\\",
        ),
        *("token:'a'\n", "('token','a'\n", "0123456789abcdef", "$2$", "Private-Lines: 3\n", "1//0"),
    ],
)
@pytest.mark.timeout(20)
def test_no_text_of_one_part_over_and_over_is_slow(part: str) -> None:
    text = part * (65_536 // len(part))
    for tried in (
        text,
        f"password={text}",
        f'"password": "{text}',
        f"{text}-----END PRIVATE KEY-----",
    ):
        assert mask(tried)  # a quadratic rule takes minutes for these


def test_of_a_text_over_the_limit_the_middle_is_left_out() -> None:
    shown = mask("a " + "x" * 2 * LONGEST + "\npassword=hunter2 end")
    assert shown.startswith("a x")
    assert "characters left out" in shown
    assert shown.endswith("\npassword=*** end")
    assert len(shown) < LONGEST + 100


def test_values_are_masked_in_pairs_and_behind_options() -> None:
    class OddText(str):
        __slots__ = ()

        def __str__(self) -> str:
            raise SystemExit(3)

    value = [("authorization", "x"), ["cmd", "--password", "x", "--user", "ada"], {b"token": b"x"}]
    assert [
        ["authorization", MASK],
        ["cmd", "--password", MASK, "--user", "ada"],
        {"b'token'": MASK},
    ] == masked(value)
    assert masked({"a": OddText("x")})
