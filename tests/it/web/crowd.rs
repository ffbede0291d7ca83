//! A crowd that asks without an end, at every address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use hyper::Method;
use pgtether::demo::postgres::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{Daemon, request, wait_until};
use crate::supervise::{SOON, config};
use crate::web_config::health_port;

/// More than the web port has places for.
const AT_THE_WEB_PORT: usize = 600;
const AT_THE_HEALTH_ADDRESS: usize = 200;

/// Clients on a thread of their own, which ask until it is dropped.
struct Crowd {
    enough: Arc<AtomicBool>,
    connected: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Crowd {
    fn at(web: SocketAddr, health: SocketAddr) -> Crowd {
        let (enough, connected) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (told, counted) = (enough.clone(), connected.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for n in 0..AT_THE_WEB_PORT + AT_THE_HEALTH_ADDRESS {
                    let address = if n < AT_THE_WEB_PORT { web } else { health };
                    tokio::spawn(asks(address, counted.clone()));
                }
                while !told.load(Ordering::Relaxed) {
                    tokio::time::sleep(SOON / 100).await;
                }
            });
        });
        Crowd { enough, connected, thread: Some(thread) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Sends requests as fast as they are taken, reads what comes, and comes again when it is sent away.
async fn asks(address: SocketAddr, connected: Arc<AtomicUsize>) {
    let requests = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n".repeat(50);
    loop {
        let Ok(stream) = TcpStream::connect(address).await else { continue };
        connected.fetch_add(1, Ordering::Relaxed);
        let (mut answers, mut questions) = stream.into_split();
        let ask = async { while questions.write_all(requests.as_bytes()).await.is_ok() {} };
        let read = async {
            let mut some = [0; 4096];
            while answers.read(&mut some).await.is_ok_and(|read| read > 0) {}
        };
        tokio::join!(ask, read);
    }
}

#[tokio::test]
async fn probes_at_the_health_address_are_answered_whatever_a_crowd_asks_there_and_at_the_web_port() {
    let url = format!("postgresql://app@127.0.0.1:{}/db", free_port().unwrap());
    let daemon = Daemon::start_with(&config(&url, &[]), &["--web.health-listen-address=127.0.0.1:0"], &[]);
    let health = health_port(&daemon);
    wait_until(SOON, "readiness", async || match request(health, Method::GET, "/readyz", &[]).await {
        answer if answer.status == 200 => Ok(()),
        answer => Err(answer.text()),
    })
    .await;
    let crowd = Crowd::at(daemon.address(), health);
    wait_until(SOON * 3, "the crowd", async || match crowd.connected.load(Ordering::Relaxed) {
        many if many >= AT_THE_WEB_PORT + AT_THE_HEALTH_ADDRESS => Ok(()),
        few => Err(few.to_string()),
    })
    .await;
    for _ in 0..10 {
        // An answer that does not come in time fails the test.
        for (page, status) in [("/livez", 200), ("/readyz", 200), ("/health", 503)] {
            assert_eq!(request(health, Method::GET, page, &[]).await.status, status, "{page}");
        }
    }
}
