//! A client of the web port that speaks TLS and knows passwords, as scrapers and browsers do.

use std::net::SocketAddr;
use std::pin::Pin;

use hyper::Method;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use openssl::x509::X509;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::certs::{Authority, Leaf};
use crate::process::{Answer, ask};

/// Who asks, and how.
#[derive(Clone)]
pub struct Client {
    authority: X509,
    identity: Option<(X509, PKey<openssl::pkey::Private>)>,
    version: Option<SslVersion>,
    authorization: Option<String>,
}

impl Client {
    /// Trusts servers that `authority` signed, and nobody else.
    pub fn trusting(authority: &Authority) -> Client {
        let authority = X509::from_pem(authority.pem().as_bytes()).unwrap();
        Client { authority, identity: None, version: None, authorization: None }
    }

    /// Shows this certificate when asked for one.
    pub fn showing(mut self, leaf: &Leaf) -> Client {
        let key = PKey::private_key_from_pem(leaf.key.as_bytes()).unwrap();
        self.identity = Some((X509::from_pem(leaf.cert.as_bytes()).unwrap(), key));
        self
    }

    /// Speaks this version alone.
    pub fn only(mut self, version: SslVersion) -> Client {
        self.version = Some(version);
        self
    }

    /// Sends this name and password with each request.
    pub fn user(mut self, name: &str, password: &str) -> Client {
        self.authorization = Some(basic(name, password));
        self
    }

    /// The answer, or what the connection broke by.
    pub async fn try_get(&self, to: SocketAddr, path: &str) -> Result<Answer, String> {
        let stream = self.connect(to).await?;
        let headers: Vec<_> =
            self.authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        ask(stream, to, Method::GET, path, &headers).await.map_err(|error| format!("{error:?}"))
    }

    pub async fn get(&self, to: SocketAddr, path: &str) -> Answer {
        self.try_get(to, path).await.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// A connection whose handshake is done. By TLS 1.3 that says nothing of the client's certificate yet.
    pub async fn connect(&self, to: SocketAddr) -> Result<SslStream<TcpStream>, String> {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
        builder.cert_store_mut().add_cert(self.authority.clone()).unwrap();
        // A client of the past would offer what our OpenSSL no longer does by itself.
        builder.set_cipher_list("DEFAULT@SECLEVEL=0").unwrap();
        if self.version.is_some() {
            builder.set_min_proto_version(self.version).unwrap();
            builder.set_max_proto_version(self.version).unwrap();
        }
        if let Some((certificate, key)) = &self.identity {
            builder.set_certificate(certificate).unwrap();
            builder.set_private_key(key).unwrap();
        }
        let ssl = builder.build().configure().unwrap().into_ssl("localhost").unwrap();
        let stream = TcpStream::connect(to).await.unwrap();
        let mut stream = SslStream::new(ssl, stream).unwrap();
        Pin::new(&mut stream).connect().await.map_err(|error| error.to_string())?;
        Ok(stream)
    }

    /// The serial number of the certificate that the server shows.
    pub async fn serial(&self, to: SocketAddr) -> String {
        let stream = self.connect(to).await.unwrap();
        let certificate = stream.ssl().peer_certificate().unwrap();
        certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string()
    }
}

/// The value of `Authorization`.
pub fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", openssl::base64::encode_block(format!("{name}:{password}").as_bytes()))
}
