//! How a server may ask for the password: `require_auth`, and no weaker than it did before.

use pgtether::connection::Postgres;
use pgtether::reason::Facts;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{LIMIT, enter, is_config, open, refused, target};
use crate::scripted::say;
use crate::servers::postgres15;

/// What a client answers who was told that, and why it goes.
async fn answer_to(
    listener: &TcpListener,
    postgres: &Postgres,
    url: &str,
    told: Vec<u8>,
) -> (Vec<u8>, Facts) {
    let pretending = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut startup = vec![0; socket.read_u32().await.unwrap() as usize - 4];
        socket.read_exact(&mut startup).await.unwrap();
        socket.write_all(&told).await.unwrap();
        let mut answer = Vec::new();
        // It goes, with a reset perhaps, or answers and waits.
        while let Ok(1..) = timeout(LIMIT, socket.read_buf(&mut answer)).await.expect("it does nothing") {
            if answer.first() == Some(&b'p') {
                break;
            }
        }
        answer
    };
    let (answer, entered) = tokio::join!(pretending, enter(postgres, target(url), LIMIT));
    (answer, entered.map(|_| ()).unwrap_err())
}

#[tokio::test]
async fn a_server_may_ask_only_as_require_auth_says() {
    let cluster = postgres15();
    let url = |methods: &str| format!("{}?require_auth={methods}", cluster.superuser_url());
    for methods in ["scram-sha-256", "md5,scram-sha-256", "!password,!none", ""] {
        open(&url(methods)).await.unwrap_or_else(|facts| panic!("{methods}: {facts:?}"));
    }
    for methods in ["md5", "!scram-sha-256", "none"] {
        let facts = refused(&url(methods)).await;
        assert!(is_config(&facts, "the server asked for SCRAM-SHA-256, and require_auth"), "{facts:?}");
    }
}

#[tokio::test]
async fn a_password_in_clear_text_is_not_sent_where_require_auth_forbids_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let url = format!("postgresql://app:sesame@{at}/db?sslmode=disable&require_auth=scram-sha-256");
    let asked = say::auth(3, b"");
    // Whoever asks for SCRAM first, and then for less, too.
    let both = [say::auth(10, b"SCRAM-SHA-256\0\0"), asked.clone()].concat();
    for (told, why) in [(asked, "in clear text"), (say::welcome(), "without asking"), (both, "")] {
        let (answer, facts) = answer_to(&listener, &Postgres::new(), &url, told).await;
        assert!(!answer.windows(6).any(|bytes| bytes == b"sesame"), "{answer:?}");
        assert!(why.is_empty() || answer.is_empty() && is_config(&facts, why), "{facts:?}");
    }
}

#[tokio::test]
async fn a_server_that_asked_for_scram_may_not_ask_for_less_afterwards() {
    let cluster = postgres15();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let url = format!("postgresql://postgres:{}@{at}/postgres?sslmode=disable", cluster.password());
    let postgres = Postgres::new();
    // The real one, by a proxy.
    let proxy = async {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", cluster.port())).await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut server).await;
    };
    let entering = async { drop(enter(&postgres, target(&url), LIMIT).await.unwrap()) };
    tokio::join!(proxy, entering);
    for told in [say::auth(3, b""), say::auth(5, b"salt"), say::welcome()] {
        let (answer, facts) = answer_to(&listener, &postgres, &url, told).await;
        assert!(
            answer.is_empty() && is_config(&facts, "although it asked for SCRAM-SHA-256 before"),
            "{facts:?}"
        );
    }
    // Who says that it is right is believed.
    let url = format!("{url}&require_auth=password");
    let (answer, facts) = answer_to(&listener, &postgres, &url, say::auth(3, b"")).await;
    assert!(answer.starts_with(b"p"), "{facts:?}");
}
