use std::os::unix::net::UnixListener as StdUnixListener;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn folder() -> (TempDir, PathBuf, Listen) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(".s.PGSQL.6432");
    let listen = Listen::Unix(path.clone());
    (folder, path, listen)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn refused(listen: &Listen) -> String {
    let error = bind(listen, Auth::Scram).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{listen}: ")), "{error}");
    error[format!("{listen}: ").len()..].to_owned()
}

#[tokio::test]
async fn a_tcp_client_is_accepted_and_named_by_its_address() {
    let listener = bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap()), Auth::Scram).unwrap();
    let Listen::Tcp(address) = listener.address().unwrap() else { panic!("no TCP") };
    assert_ne!(address.port(), 0);
    let mut client = TcpStream::connect(address).await.unwrap();
    let (mut stream, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap().to_string());
    stream.write_all(b"x").await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn a_client_that_vanishes_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tune(&stream).unwrap();
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_COUNT);
}

#[tokio::test]
async fn a_port_is_free_again_at_once() {
    let listener = bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap()), Auth::Scram).unwrap();
    let listen = listener.address().unwrap();
    assert_eq!(refused(&listen), "another process listens there: stop it, or choose another port");
    let Listen::Tcp(address) = listen else { panic!("no TCP") };
    let client = TcpStream::connect(address).await.unwrap();
    drop(listener.accept().await.unwrap());
    drop((listener, client));
    bind(&listen, Auth::Scram).unwrap();
}

#[tokio::test]
async fn a_unix_client_is_accepted_and_named_by_its_process() {
    let (_folder, path, listen) = folder();
    let listener = bind(&listen, Auth::Scram).unwrap();
    assert_eq!(listener.address().unwrap(), listen);
    let _client = UnixStream::connect(&path).await.unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    assert!(peer.starts_with(&format!("unix pid {} uid ", std::process::id())), "{peer}");
}

#[tokio::test]
async fn everybody_reaches_a_socket_that_asks_for_a_password_and_few_one_that_trusts() {
    let (_folder, path, listen) = folder();
    let listener = bind(&listen, Auth::Scram).unwrap();
    assert_eq!(mode(&path), 0o777);
    drop(listener);
    let _listener = bind(&listen, Auth::Trust).unwrap();
    assert_eq!(mode(&path), 0o660);
}

#[tokio::test]
async fn a_socket_is_gone_with_its_listener_unless_it_is_another_ones_by_now() {
    let (_folder, path, listen) = folder();
    drop(bind(&listen, Auth::Scram).unwrap());
    assert!(!path.exists());
    let listener = bind(&listen, Auth::Scram).unwrap();
    fs::rename(&path, path.with_extension("old")).unwrap();
    let _other = StdUnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.exists());
}

#[tokio::test]
async fn what_a_killed_process_left_behind_is_replaced() {
    let (_folder, path, listen) = folder();
    drop(StdUnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves it there");
    let listener = bind(&listen, Auth::Scram).unwrap();
    let _client = UnixStream::connect(&path).await.unwrap();
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn a_socket_that_answers_is_left_alone_even_if_its_queue_is_full() {
    let (_folder, path, listen) = folder();
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let answers = "another process answers on this socket: stop it, or choose another path";
    for queued in 0..3 {
        assert_eq!(refused(&listen), answers, "{queued} in the queue");
    }
    assert!(path.exists());
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let (_folder, path, listen) = folder();
    fs::write(&path, "precious").unwrap();
    assert_eq!(refused(&listen), "a file that is no socket stands there: remove it, or choose another path");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn what_cannot_be_bound_is_told_with_the_remedy() {
    let (folder, ..) = folder();
    let missing = Listen::Unix(folder.path().join("missing/socket"));
    assert_eq!(refused(&missing), "its folder is not there: create it");
    let long = Listen::Unix(folder.path().join("x".repeat(108)));
    assert_eq!(refused(&long), "the path is too long: a socket's may have 107 bytes");
    let foreign = Listen::Tcp("192.0.2.1:6432".parse().unwrap());
    assert_eq!(refused(&foreign), "this machine has no such address");
}

#[tokio::test]
async fn who_waited_before_only_some_may_connect_is_hung_up_on() {
    let (_folder, path, listen) = folder();
    let listener = bind(&listen, Auth::Scram).unwrap();
    let mut early = UnixStream::connect(&path).await.unwrap();
    listener.permit(Auth::Trust).unwrap();
    assert_eq!(mode(&path), 0o660);
    assert_eq!(early.read(&mut [0]).await.unwrap_or_default(), 0);
    let late = UnixStream::connect(&path);
    let (late, accepted) = tokio::join!(late, listener.accept());
    late.unwrap().write_all(b"x").await.unwrap();
    assert_eq!(
        accepted.unwrap().0.read_u8().await.unwrap(),
        b'x',
        "the first that is accepted is the late one"
    );
    listener.permit(Auth::Scram).unwrap();
    assert_eq!(mode(&path), 0o777);
}
