"""A gallery on a server of another machine: over TCP with a password, and over TLS."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import count

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from visavis.errors import GalleryUnusable
from visavis.gallery import ExactSearcher

from .given import ENCODER, opened, template
from .postgres_server import PostgresServer, TlsRelay

PASSWORD = "op/en se:s@me"
QUOTED = "op%2Fen%20se%3As%40me"
_schemas = count()


@pytest.fixture(scope="module")
def networked():
    server = PostgresServer(tcp=True)
    with server.connect() as db:
        db.execute(f"CREATE ROLE door LOGIN PASSWORD '{PASSWORD}'")
        db.execute("GRANT CREATE ON DATABASE postgres TO door")
        (kept,) = db.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'door'").fetchone()
    assert kept.startswith("SCRAM-SHA-256$")
    yield server
    server.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Make self-signed certificates: by name, the file of a certificate and that of its key."""
    folder = tmp_path_factory.mktemp("certificates")
    names = ("127.0.0.1", "db.example", "stranger")
    return {name: self_signed(name, folder) for name in names}


@pytest.fixture(scope="module")
def relay(networked, certificates):
    yield from relayed(networked, certificates["127.0.0.1"])


@pytest.fixture(scope="module")
def named_relay(networked, certificates):
    """Its certificate names a host and no address."""
    yield from relayed(networked, certificates["db.example"])


def relayed(server, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    relay = TlsRelay(server.port, context)
    yield relay
    relay.close()


def self_signed(host, folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    as_address = host[0].isdigit()
    where = x509.IPAddress(ip_address(host)) if as_address else x509.DNSName(host)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([where]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{host}.pem", folder / f"{host}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def url(port, more="", *, password=QUOTED, host="127.0.0.1"):
    user = f"door:{password}" if password else "door"
    return f"postgresql://{user}@{host}:{port}/postgres?schema=net_{next(_schemas)}{more}"


def refused(where):
    """Give what opening a gallery is refused with; nobody is told the password by it."""
    with pytest.raises(GalleryUnusable) as told:
        opened(where)
    fault = told.value
    while fault is not None:
        assert PASSWORD not in str(fault)
        assert QUOTED not in str(fault)
        fault = fault.__cause__
    return str(told.value)


def use(where):
    """Enrol and find somebody; gives the gallery's name for people."""
    with opened(where) as gallery:
        ada = gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        searcher = ExactSearcher(gallery.owned_vectors_of, keep=0)
        searcher.update(gallery.changes(0))
        (hit,) = searcher.nearest(template(1).vector[None], 1)[0]
        assert (hit.person, hit.distance) == (ada.person.id, 0)
        assert gallery.remove("Ada").templates == ada.added
        return gallery.where


def test_over_tcp_with_a_password_in_the_url(networked):
    where = url(networked.port)
    shown = use(where)
    assert shown == where.replace(f":{QUOTED}@", "@")


def test_over_tcp_with_a_password_from_elsewhere(networked, monkeypatch, tmp_path):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    use(url(networked.port, password=""))
    monkeypatch.delenv("PGPASSWORD")
    passes = tmp_path / "pgpass"
    passes.write_text("127.0.0.1:*:postgres:door:" + PASSWORD.replace(":", r"\:"))
    passes.chmod(0o600)
    use(url(networked.port, f"&passfile={passes}", password=""))


@pytest.mark.parametrize("password", ["wrong", "", QUOTED + "x"])
def test_without_the_right_password_nobody_gets_in(networked, password):
    said = refused(url(networked.port, "&passfile=/nowhere", password=password))
    assert "check user and password" in said
    assert "wrong" not in said


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca", "verify-full"])
def test_over_tls(relay, certificates, mode):
    trusted, _ = certificates["127.0.0.1"]
    before = relay.encrypted
    use(url(relay.port, f"&sslmode={mode}&sslrootcert={trusted}"))
    assert relay.encrypted > before


def test_over_tls_the_password_counts_as_well(relay, certificates):
    trusted, _ = certificates["127.0.0.1"]
    more = f"&sslmode=verify-full&sslrootcert={trusted}"
    assert "check user and password" in refused(url(relay.port, more, password="wrong"))


def test_over_tls_to_a_host_by_its_name(named_relay, certificates):
    trusted, _ = certificates["db.example"]
    more = f"&sslmode=verify-full&sslrootcert={trusted}&hostaddr=127.0.0.1"
    use(url(named_relay.port, more, host="db.example"))


@pytest.mark.parametrize(
    ("mode", "trusted", "why"),
    [
        ("verify-full", "127.0.0.1", "certificate verify failed"),
        ("verify-ca", "stranger", "certificate verify failed"),
        ("verify-full", "db.example", "does not match host name"),
        ("verify-full", "nowhere", "does not exist"),
    ],
)
def test_a_certificate_that_proves_nothing_is_refused(
    named_relay, certificates, mode, trusted, why
):
    file = certificates.get(trusted, ["/nowhere.pem"])[0]
    said = refused(url(named_relay.port, f"&sslmode={mode}&sslrootcert={file}"))
    assert why in said
    assert "sslrootcert" in said
    assert "does not answer" not in said


def test_a_server_without_tls_is_refused_where_tls_is_asked_for(networked):
    said = refused(url(networked.port, "&sslmode=require"))
    assert "does not speak TLS" in said
    assert "ssl = on" in said


def test_a_server_that_takes_nothing_but_tls_says_so(relay):
    assert "sslmode=verify-full" in refused(url(relay.port, "&sslmode=disable"))
