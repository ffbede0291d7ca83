//! Signals on their way to the command, and the drain after its end.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use super::{NOWHERE, PATIENCE, ended, exec, exec_sh, psql, server};

/// A running `exec`, whose command says line by line how far it is.
struct Talk {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Talk {
    fn with(command: &mut tokio::process::Command) -> Talk {
        let mut child = command.spawn().unwrap();
        // Read by nobody: what is told there is not what these tests are about.
        drop(child.stderr.take());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Talk { child, lines }
    }

    async fn next(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("the command is silent");
        line.unwrap().expect("the command has ended")
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().unwrap() as i32), signal).unwrap();
    }

    async fn code(mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.expect("exec goes on").unwrap().code()
    }
}

/// Says the names of the signals that come, until TERM.
const REPEAT: &str = "
    for name in HUP INT QUIT USR1 USR2 WINCH CONT ALRM; do trap \"echo $name\" $name; done
    trap 'echo TERM; exit 5' TERM
    echo ready
    while :; do sleep 0.02; done";

#[tokio::test]
async fn every_signal_that_can_be_caught_is_passed_on() {
    let mut talk = Talk::with(&mut exec_sh(NOWHERE, &[], REPEAT));
    assert_eq!(talk.next().await, "ready");
    for (signal, name) in [
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
        (Signal::SIGWINCH, "WINCH"),
        (Signal::SIGCONT, "CONT"),
        (Signal::SIGALRM, "ALRM"),
        (Signal::SIGTERM, "TERM"),
    ] {
        talk.signal(signal);
        assert_eq!(talk.next().await, name);
    }
    assert_eq!(talk.code().await, Some(5));
}

#[tokio::test]
async fn a_command_that_is_told_to_end_still_has_the_pool() {
    let cluster = server();
    let script = format!(
        "trap '{}; exit 5' TERM; echo ready; while :; do sleep 0.02; done",
        psql("SELECT 40 + 2").replace('\'', "\"")
    );
    let mut talk = Talk::with(&mut exec_sh(&cluster.superuser_url(), &[], &script));
    assert_eq!(talk.next().await, "ready");
    talk.signal(Signal::SIGTERM);
    assert_eq!(talk.next().await, "42");
    assert_eq!(talk.code().await, Some(5));
}

#[tokio::test]
async fn a_command_that_does_not_catch_the_signal_dies_of_it_and_so_does_the_exit_code() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let mut talk = Talk::with(&mut exec_sh(NOWHERE, &[], "echo ready; exec sleep 600"));
        assert_eq!(talk.next().await, "ready");
        talk.signal(signal);
        assert_eq!(talk.code().await, Some(code));
    }
}

/// Starts the rest of its arguments in a terminal of its own, presses ctrl-C, and tells how often that arrived, and how
/// often it was passed on: two that come at once are one.
const TERMINAL: &str = r#"
import os, pty, sys
COUNT = r"""
import signal, sys
times = 0
def count(*_):
    global times
    times += 1
    # Long enough for a second one.
    signal.setitimer(signal.ITIMER_REAL, 0.5)
signal.signal(signal.SIGINT, count)
signal.signal(signal.SIGALRM, lambda *_: (print("times", times, flush=True), sys.exit(4)))
print("ready", flush=True)
while True:
    signal.pause()
"""
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:] + ["--", "python3", "-c", COUNT])
said = b""
while b"ready" not in said:
    said += os.read(terminal, 1024)
os.write(terminal, b"\x03")
try:
    while True:
        said += os.read(terminal, 1024)
except OSError:
    pass
said = said.decode()
print(said.split("times")[1].split()[0], said.count("passed on"), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

#[tokio::test]
async fn ctrl_c_in_a_terminal_reaches_the_command_once() {
    let daemon = exec(NOWHERE, &[], &[]);
    let daemon = daemon.as_std();
    let mut words: Vec<_> = daemon.get_args().map(ToOwned::to_owned).collect();
    assert_eq!(words.pop().unwrap(), "--");
    let mut python = tokio::process::Command::new("python3");
    python.args(["-c", TERMINAL]).arg(daemon.get_program()).args(words).kill_on_drop(true);
    python.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let done = ended(&mut python).await;
    assert_eq!((done.code, done.out.trim()), (0, "1 0 4"), "{}", done.err);
}
