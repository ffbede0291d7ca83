//! tokio-postgres as the client, over a pipe and over TLS.

use native_tls::{Certificate, TlsConnector};
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};
use tokio_postgres::error::DbError;

use super::*;

fn config() -> Config {
    let mut config = Config::new();
    config.user("app").password(PASSWORD).dbname("orders").ssl_mode(SslMode::Disable);
    config
}

/// Lets the client in, as a pool would, and tells who it was.
async fn serve(
    server: DuplexStream,
    policy: AuthPolicy<'static>,
    attempt: LoginAttempt,
) -> Result<Startup, Rejected> {
    match timeout(LIMIT, authenticate(Box::new(server), policy, attempt))
        .await
        .expect("the handshake hangs")?
    {
        Outcome::Client(client) => {
            let Authenticated { mut stream, startup, pending: mut out } = *client;
            backend::authentication_ok(&mut out);
            backend::parameter_status(&mut out, "server_version", "15.0");
            backend::backend_key_data(&mut out, 1, &[0; 4]);
            backend::ready_for_query(&mut out, b'I');
            send(&mut stream, &out).await.unwrap();
            // Until the client is done with it.
            let _ = stream.read_u8().await;
            Ok(startup)
        }
        Outcome::Cancel(..) => panic!("a cancel request"),
    }
}

/// Who is let in, or what the client was told and what the log says.
async fn login(config: &Config, policy: AuthPolicy<'static>) -> Result<Startup, (DbError, String)> {
    login_with(config, policy, &mut TlsConnector::builder(), attempt()).await
}

async fn login_with(
    config: &Config,
    policy: AuthPolicy<'static>,
    tls: &mut native_tls::TlsConnectorBuilder,
    attempt: LoginAttempt,
) -> Result<Startup, (DbError, String)> {
    let certificate = policy.acceptor.map(|acceptor| acceptor.certificate_pem());
    tls.disable_built_in_roots(true);
    for pem in certificate.iter() {
        tls.add_root_certificate(Certificate::from_pem(pem).unwrap());
    }
    let tls = postgres_native_tls::TlsConnector::new(tls.build().unwrap(), "localhost");
    let (client, server) = duplex(1 << 14);
    let handshake = tokio::spawn(serve(server, policy, attempt));
    let connected = config.connect_raw(client, tls).await.map(drop);
    let served = timeout(LIMIT, handshake).await.unwrap().unwrap();
    match (connected, served) {
        (Ok(()), Ok(startup)) => Ok(startup),
        (Err(error), Err(Rejected::Told(LoginRejection { message: why, .. }))) => {
            let told = error.as_db_error().unwrap_or_else(|| panic!("{error:?}, and the log says {why}"));
            Err((told.clone(), why))
        }
        (connected, served) => panic!("{connected:?}, but {served:?}"),
    }
}

async fn refused(config: &Config, policy: AuthPolicy<'static>) -> (String, String) {
    let (told, _) = login(config, policy).await.unwrap_err();
    assert_eq!(told.severity(), "FATAL");
    (told.code().code().to_owned(), told.message().to_owned())
}

#[tokio::test]
async fn the_right_password_lets_in_plainly_and_tells_what_the_client_wants() {
    for mode in [SslMode::Disable, SslMode::Prefer] {
        let mut config = config();
        config.ssl_mode(mode).application_name("shop").options("-c statement_timeout=5s endpoint=ep-1");
        let startup = login(&config, plain()).await.unwrap();
        assert_eq!((startup.user.as_str(), startup.database.as_str(), startup.minor), ("app", "orders", 0));
        let kept: Vec<_> = startup.parameters.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let wanted = [("application_name", "shop"), ("client_encoding", "UTF8"), ("statement_timeout", "5s")];
        assert_eq!(kept, wanted);
    }
}

#[tokio::test]
async fn under_tls_the_login_is_bound_to_our_certificate() {
    let mut config = config();
    config.ssl_mode(SslMode::Require);
    for binding in [ChannelBinding::Disable, ChannelBinding::Prefer, ChannelBinding::Require] {
        config.channel_binding(binding);
        login(&config, policy()).await.unwrap();
    }
}

#[tokio::test]
async fn tls_may_begin_without_a_request_where_the_protocol_is_named() {
    let mut config = config();
    config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    config.channel_binding(ChannelBinding::Require);
    let mut named = TlsConnector::builder();
    postgres_native_tls::set_postgresql_alpn(&mut named);
    login_with(&config, policy(), &mut named, attempt()).await.unwrap();
    let (told, _) = login(&config, policy()).await.unwrap_err();
    assert_eq!(told.code().code(), "08P01");
}

#[tokio::test]
async fn a_client_of_another_protocol_gets_no_tls() {
    let (client, server) = duplex(1 << 14);
    let handshake = tokio::spawn(serve(server, policy(), attempt()));
    let http = TlsConnector::builder()
        .danger_accept_invalid_certs(true)
        .request_alpns(&["h2", "http/1.1"])
        .build()
        .unwrap();
    let error = tokio_native_tls::TlsConnector::from(http).connect("localhost", client).await.unwrap_err();
    assert!(error.to_string().contains("no application protocol"), "{error}");
    let Err(Rejected::Told(why)) = handshake.await.unwrap() else { panic!("let in") };
    assert!(why.message.starts_with("TLS handshake: "), "{why:?}");
    assert_eq!(why.why, LoginFailure::Tls);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_leaves_and_the_log_says_why() {
    let (client, server) = duplex(1 << 14);
    let handshake = tokio::spawn(serve(server, policy(), attempt()));
    let mut config = config();
    config.ssl_mode(SslMode::Require);
    let wary = TlsConnector::builder().disable_built_in_roots(true).build().unwrap();
    assert!(
        config.connect_raw(client, postgres_native_tls::TlsConnector::new(wary, "localhost")).await.is_err()
    );
    let Err(Rejected::Told(why)) = handshake.await.unwrap() else { panic!("let in") };
    assert!(why.message.contains("unknown ca"), "{why:?}");
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_user_are_told_the_same() {
    for policy in [plain(), policy()] {
        let mut wrong_password = config();
        wrong_password.password("hunter3").ssl_mode(SslMode::Prefer);
        let (code, message) = refused(&wrong_password, policy).await;
        assert_eq!((code.as_str(), &*message), ("28P01", "password authentication failed for user \"app\""));
        let mut wrong_user = config();
        wrong_user.user("eve").ssl_mode(SslMode::Prefer);
        let (code, message) = refused(&wrong_user, policy).await;
        assert_eq!((code.as_str(), &*message), ("28P01", "password authentication failed for user \"eve\""));
    }
}

/// With a clock that only moves while everybody waits.
#[tokio::test(start_paused = true)]
async fn wrong_passwords_are_told_one_after_the_other_and_a_right_one_never_waits() {
    let mut wrong = config();
    wrong.password("hunter3");
    let penalties = Arc::<Mutex<Penalties>>::default();
    let began = Instant::now();
    let log_in = async |config: &Config| {
        let attempt = LoginAttempt { penalties: Arc::clone(&penalties), ..attempt() };
        let mut no_tls = TlsConnector::builder();
        let came = login_with(config, plain(), &mut no_tls, attempt).await;
        (came.is_ok(), began.elapsed())
    };
    let right = config();
    let (first, second, third, right) =
        tokio::join!(log_in(&wrong), log_in(&wrong), log_in(&wrong), log_in(&right));
    let mut told = [first, second, third].map(|(is_in, took)| (is_in, took.as_millis() / 300));
    told.sort_unstable();
    assert_eq!(told, [(false, 1), (false, 2), (false, 3)]);
    assert!(right.0 && right.1 < Duration::from_millis(300), "{right:?}");
}

#[tokio::test]
async fn another_database_is_told_of_ours_once_the_password_is_right() {
    let mut config = config();
    config.dbname("other");
    let (told, why) = login(&config, plain()).await.unwrap_err();
    assert_eq!(told.code().code(), "3D000");
    assert_eq!(told.message(), "database \"other\" cannot be reached here");
    assert_eq!(told.hint(), Some("This port leads to database \"orders\"."));
    assert_eq!(why, told.message());
    config.password("wrong");
    assert_eq!(refused(&config, plain()).await.0, "28P01");
}

#[tokio::test]
async fn the_trusted_need_no_password_but_the_right_names() {
    let mut config = config();
    config.password("anything");
    login(&config, trusting()).await.unwrap();
    config.dbname("other");
    assert_eq!(refused(&config, trusting()).await.0, "3D000");
    config.dbname("orders").user("eve");
    let (told, _) = login(&config, trusting()).await.unwrap_err();
    assert_eq!(told.code().code(), "28000");
    assert_eq!(told.hint(), Some("This port is a pool of sessions of user \"app\"."));
}

#[tokio::test]
async fn where_tls_is_demanded_a_plain_client_is_told_how_to_connect() {
    let strict = AuthPolicy { demand_tls: true, ..policy() };
    let mut config = config();
    let (told, _) = login(&config, strict).await.unwrap_err();
    assert_eq!((told.code().code(), told.hint()), ("28000", Some("Connect with sslmode=require.")));
    config.ssl_mode(SslMode::Require);
    login(&config, strict).await.unwrap();
}

#[tokio::test]
async fn without_a_password_to_check_by_nobody_is_let_in() {
    let (told, _) = login(&config(), AuthPolicy { verifier: None, ..plain() }).await.unwrap_err();
    assert_eq!(told.code().code(), "28000");
    assert!(told.hint().unwrap().starts_with("Give the target a password"));
}

#[tokio::test]
async fn a_rejected_client_can_read_why_with_and_without_tls() {
    let words = ErrorFields::fatal("53300", "too many clients").hint("Come back later.");
    for mode in [SslMode::Disable, SslMode::Require] {
        let (client, server) = duplex(1 << 14);
        let because = (LoginFailure::Config, words.clone());
        let acceptor = policy().acceptor;
        let rejecting = reject(Box::new(server), acceptor, because, attempt());
        let handshake = tokio::spawn(async move { rejecting.await.map(|(key, _)| key) });
        let trusting = TlsConnector::builder().danger_accept_invalid_certs(true).build().unwrap();
        let tls = postgres_native_tls::TlsConnector::new(trusting, "localhost");
        let error = config().ssl_mode(mode).connect_raw(client, tls).await.map(drop).unwrap_err();
        let told = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!((told.code().code(), told.hint()), ("53300", Some("Come back later.")));
        let rejection = LoginRejection { why: LoginFailure::Config, message: "too many clients".to_owned() };
        assert_eq!(handshake.await.unwrap(), Err(Rejected::Told(rejection)));
    }
}
