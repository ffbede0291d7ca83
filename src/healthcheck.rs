//! `pgtether healthcheck`: asks the pgtether that runs beside it, as an image's HEALTHCHECK does, which has no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use crate::cli::ListenAddress;
use crate::printable;

/// More of an answer is not read: what is shown of it is shorter.
const ANSWER_LIMIT: usize = 4096;
/// So many characters of an answer are shown; what keeps an image's health log keeps about as many.
const SHOWN: usize = 3_000;
/// Heads included. Without a bound of its own, a server that never comes to its answer could keep this process from its clock.
const BYTES_LIMIT: u64 = 64 * 1024;
/// What the web port answers to who speaks no TLS there.
const SPEAKS_TLS: &str = "speaks HTTPS";

/// What is asked, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthQuestion {
    /// Tried in this order, until one accepts a connection.
    hosts: Vec<String>,
    port: u16,
    tls: bool,
    path: String,
}

impl HealthQuestion {
    /// For the pgtether of this machine that listens there.
    pub fn new(listens: &ListenAddress, tls: bool, path: &str) -> Result<Self, String> {
        let (v4, v6) = (Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string());
        let (hosts, port) = match listens {
            ListenAddress::All { port } => (vec![v4, v6], *port),
            ListenAddress::Name { host, port } => (vec![host.clone()], *port),
            ListenAddress::Ip(address) => {
                let hosts = match address.ip() {
                    IpAddr::V4(Ipv4Addr::UNSPECIFIED) => vec![v4],
                    IpAddr::V6(Ipv6Addr::UNSPECIFIED) => vec![v6, v4],
                    ip => vec![ip.to_string()],
                };
                (hosts, address.port())
            }
        };
        if port == 0 {
            return Err(
                "pgtether listens on a free port, which is not known here: give it a fixed one".to_owned()
            );
        }
        Ok(HealthQuestion { hosts, port, tls, path: path.to_owned() })
    }

    /// The answer's beginning, on one line, where its status is a success; otherwise what happened.
    pub async fn ask(&self, timeout: Duration) -> Result<String, String> {
        let (status, answer) = tokio::time::timeout(timeout, self.answer())
            .await
            .unwrap_or_else(|_| Err(format!("{self} has not answered within {} s", timeout.as_secs_f64())))?;
        let shown = printable::beginning(&answer, SHOWN);
        let cut = if shown.ends_with('…') { " (cut: the answer is longer)" } else { "" };
        let hint = match answer.contains(SPEAKS_TLS) {
            true => {
                ": give the health check the web config file, too (--web.config.file or PGTETHER_WEB_CONFIG_FILE)"
            }
            false => "",
        };
        if status.is_success() {
            Ok(shown + cut)
        } else {
            Err(format!("{self} answered {status}: {shown}{cut}{hint}"))
        }
    }

    async fn answer(&self) -> Result<(StatusCode, String), String> {
        let stream = self.connect().await.map_err(|error| {
            format!(
                "{self} cannot be reached ({error}): pgtether does not run, or it listens elsewhere. The health check \
                 uses --web.listen-address and --web.health-listen-address, or their environment variables, as pgtether does"
            )
        })?;
        let failed = |error: &dyn std::fmt::Display| format!("{self} cannot be asked: {error}");
        if !self.tls {
            return self.exchange(stream).await.map_err(|error| failed(&error));
        }
        let mut connector = SslConnector::builder(SslMethod::tls_client()).map_err(|error| failed(&error))?;
        // The certificate is for other names than this machine's own addresses.
        connector.set_verify(SslVerifyMode::NONE);
        let tls = connector.build().configure().map_err(|error| failed(&error))?;
        let tls = tls.verify_hostname(false).use_server_name_indication(false).into_ssl("");
        let tls = tls.map_err(|error| failed(&error))?;
        let mut stream = tokio_openssl::SslStream::new(tls, stream).map_err(|error| failed(&error))?;
        std::pin::Pin::new(&mut stream).connect().await.map_err(|error| failed(&error))?;
        self.exchange(stream).await.map_err(|error| failed(&error))
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let mut failure = None;
        for host in &self.hosts {
            match TcpStream::connect((host.as_str(), self.port)).await {
                Ok(stream) => return Ok(stream),
                // The first one tells more: the others are only guesses.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into()))
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<(StatusCode, String), hyper::Error> {
        let (received, sent) = tokio::io::split(stream);
        let stream = tokio::io::join(received.take(BYTES_LIMIT), sent);
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(header::HOST, header::HeaderValue::from_static("localhost"));
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        let answered = async {
            let answer = sender.send_request(request).await?;
            drop(sender);
            let status = answer.status();
            Ok((status, beginning(answer.into_body()).await?))
        };
        // Its own failure is the answer's, too.
        let (_, answer) = tokio::join!(connection, answered);
        answer
    }
}

async fn beginning(mut body: Incoming) -> Result<String, hyper::Error> {
    let mut read = Vec::new();
    while read.len() < ANSWER_LIMIT {
        let Some(frame) = body.frame().await else { break };
        read.extend_from_slice(frame?.data_ref().unwrap_or(&Bytes::new()));
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

impl std::fmt::Display for HealthQuestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = self.hosts.first().map_or("", String::as_str);
        let scheme = if self.tls { "https" } else { "http" };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{}{}", self.port, self.path)
        } else {
            write!(f, "{scheme}://{host}:{}{}", self.port, self.path)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::LazyLock;

    use super::*;

    fn question(listens: &str, path: &str) -> Result<HealthQuestion, String> {
        HealthQuestion::new(&listens.parse().unwrap(), false, path)
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn every_listen_address_has_one_that_can_be_asked() {
        for (listens, hosts, shown) in [
            (":10432", &["127.0.0.1", "::1"][..], "http://127.0.0.1:10432/livez"),
            ("0.0.0.0:1", &["127.0.0.1"], "http://127.0.0.1:1/livez"),
            ("[::]:1", &["::1", "127.0.0.1"], "http://[::1]:1/livez"),
            ("10.0.0.7:1", &["10.0.0.7"], "http://10.0.0.7:1/livez"),
            ("[2001:db8::7]:1", &["2001:db8::7"], "http://[2001:db8::7]:1/livez"),
            ("localhost:1", &["localhost"], "http://localhost:1/livez"),
        ] {
            let asked = question(listens, "/livez").unwrap();
            let told: Vec<_> = asked.hosts.iter().map(String::as_str).collect();
            assert_eq!((told.as_slice(), asked.to_string().as_str()), (hosts, shown));
        }
        assert!(question(":0", "/livez").unwrap_err().contains("free port"));
    }

    /// What a server gets that answers once with `answer`, and what is made of it.
    fn asked(answer: &'static [u8], timeout: Duration) -> (String, Result<String, String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let asked = question(&listener.local_addr().unwrap().to_string(), "/livez?verbose").unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).unwrap();
            let _ = stream.write_all(answer);
            // Open until the client has enough of it.
            let _ = stream.read(&mut [0; 1]);
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let result = block_on(asked.ask(timeout));
        (server.join().unwrap(), result)
    }

    #[test]
    fn only_a_success_is_one() {
        let soon = Duration::from_secs(30);
        let (request, result) = asked(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n", soon);
        assert!(request.starts_with("GET /livez?verbose HTTP/1.1\r\n"), "{request}");
        assert_eq!(result, Ok("ok".to_owned()));
        let (_, result) = asked(b"HTTP/1.1 500 Oh\r\ncontent-length: 7\r\n\r\n[-]a\n\x1b[", soon);
        assert!(
            result
                .clone()
                .unwrap_err()
                .ends_with("/livez?verbose answered 500 Internal Server Error: [-]a ["),
            "{result:?}"
        );
        assert!(asked(b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", soon).1.is_err());
        let (_, result) = asked(b"SSH-2.0-OpenSSH_9.2\r\n", soon);
        assert!(result.clone().unwrap_err().contains("cannot be asked"), "{result:?}");
    }

    #[test]
    fn an_answer_that_does_not_end_is_cut_or_given_up() {
        static LONG: [u8; 100_000] = [b'x'; 100_000];
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\n".to_vec();
        answer.extend_from_slice(&LONG);
        let (_, result) = asked(answer.leak(), Duration::from_secs(30));
        let shown = result.unwrap();
        assert!(shown.ends_with("xx… (cut: the answer is longer)"), "{shown}");
        assert!((SHOWN..SHOWN + 50).contains(&shown.chars().count()));
        let (_, result) = asked(b"HTTP/1.1 200 OK\r\n", Duration::from_millis(50));
        assert!(result.clone().unwrap_err().ends_with("has not answered within 0.05 s"), "{result:?}");
    }

    #[test]
    fn a_server_that_never_comes_to_its_answer_is_given_up() {
        static CONTINUE: LazyLock<Vec<u8>> =
            LazyLock::new(|| b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1 << 20));
        let (_, result) = asked(&CONTINUE, Duration::from_secs(300));
        assert!(result.clone().unwrap_err().contains("cannot be asked"), "{result:?}");
    }

    #[test]
    fn nobody_there_is_told_with_the_flags_that_say_where() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let failure = block_on(question(&format!(":{port}"), "/livez").unwrap().ask(Duration::from_secs(30)));
        let failure = failure.unwrap_err();
        for part in ["cannot be reached", "refused", "--web.listen-address"] {
            assert!(failure.contains(part), "no {part} in {failure}");
        }
    }
}
