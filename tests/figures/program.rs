//! The program itself: its size, and how long it takes to start. `make dist`'s static one if it has been built, or else the
//! one that all other figures are of.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pgtether::demo::postgres::free_port;

use crate::plan::Plan;
use crate::report::Figure;

const SIZE_BOUND_MIB: f64 = 12.0;
const VERSION_BOUND: Duration = Duration::from_millis(10);
const LIVE_BOUND: Duration = Duration::from_millis(50);
/// How long a start may take before the experiment fails.
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn run(plan: Plan) -> Vec<Figure> {
    let (kind, program) = program();
    let size = std::fs::metadata(&program).unwrap().len() as f64 / f64::from(1 << 20);
    let samples = 3 * plan.samples();
    let versions: Vec<Duration> = (0..samples).map(|_| version(&program)).collect();
    let starts: Vec<Duration> = (0..samples).map(|_| live(&program)).collect();
    vec![
        Figure::fact(
            &format!("size of the program, {kind}"),
            format!("{size:.1} MiB"),
            &format!("≤ {SIZE_BOUND_MIB} MiB"),
            size <= SIZE_BOUND_MIB,
        ),
        Figure::median("pgtether --version: from start to end", &versions, VERSION_BOUND),
        Figure::median("pgtether: from its start to the answer of /livez", &starts, LIVE_BOUND),
    ]
}

fn program() -> (&'static str, PathBuf) {
    let own = Path::new(env!("CARGO_BIN_EXE_pgtether"));
    let target = format!("{}-unknown-linux-musl/release/pgtether", std::env::consts::ARCH);
    let linked = own.ancestors().nth(2).unwrap().join(target);
    if linked.is_file() { ("static", linked) } else { ("with the system's libraries", own.to_owned()) }
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn version(program: &Path) -> Duration {
    let begun = Instant::now();
    let status = command(program).arg("--version").status().unwrap();
    let took = begun.elapsed();
    assert!(status.success());
    took
}

/// Killed at the end, whatever happens.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn live(program: &Path) -> Duration {
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let mut command = command(program);
    command.env("DATABASE_URL", "postgresql://app@127.0.0.1:9/app");
    command.arg(format!("--web.listen-address={address}"));
    let begun = Instant::now();
    let _started = Started(command.spawn().unwrap());
    let mut stream = loop {
        match TcpStream::connect(&address) {
            Ok(stream) => break stream,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_micros(200));
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let took = begun.elapsed();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    took
}
