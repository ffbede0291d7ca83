//! Signals on their way to the command, and the drain after its end.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::{NOWHERE, PATIENCE, ended, exec, exec_sh, psql, server, started_by};
use crate::process::wait_until;
use crate::supervise::SOON;

/// A running `exec`, whose command says line by line how far it is.
struct Talk {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Talk {
    fn with(command: &mut Command) -> Talk {
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

    /// One that may have no name.
    async fn send(&self, signal: i32) {
        let pid = self.child.id().unwrap();
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status().await.unwrap();
        assert!(sent.success(), "{signal}");
    }

    async fn status(mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("exec goes on").unwrap()
    }

    async fn code(self) -> Option<i32> {
        self.status().await.code()
    }
}

/// Sends its parent, which is pgtether, each of the signals that its arguments name, and tells how often each came back.
/// Two that come at once would be one, so it waits for each; not for those with a minus, which are not to come.
const REPORTER: &str = r#"
import os, signal, sys, time
came = {}
def count(number, _):
    came[number] = came.get(number, 0) + 1
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, count)
def send(number, times):
    os.kill(os.getppid(), number)
    deadline = time.monotonic() + 20
    while came.get(number, 0) < times and time.monotonic() < deadline:
        time.sleep(0.001)
for number in map(int, sys.argv[1:]):
    send(abs(number), 1 if number > 0 else 0)
# What was sent before this has been passed on before this.
send(signal.SIGUSR1, 2)
print(*(f"{number}:{times}" for number, times in sorted(came.items())))
sys.exit(5)
"#;

/// What becomes of a signal that is sent to pgtether.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    PassedOn,
    /// Nothing happens.
    Dropped,
    /// It ends pgtether.
    Ends,
    /// It stops pgtether alone.
    Stops,
    /// The C library's: whoever starts a program may leave them ignored, or not.
    Unsent,
}

fn fate(signal: i32) -> Fate {
    match signal {
        // SIGCHLD; SIGBUS and SIGSEGV, of which Rust's runtime takes the first one for a fault that has been mended.
        17 | 7 | 11 => Fate::Dropped,
        // SIGSTOP.
        19 => Fate::Stops,
        // SIGKILL; SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGSYS.
        9 | 4..=6 | 8 | 31 => Fate::Ends,
        32..34 => Fate::Unsent,
        _ => Fate::PassedOn,
    }
}

/// The reporter's words for these signals, after those before it.
fn reporter(before: &[&str], is_sent: impl Fn(Fate) -> bool) -> Command {
    let signals: Vec<_> = (1..=64)
        .filter(|signal| is_sent(fate(*signal)))
        .map(|signal| if fate(signal) == Fate::PassedOn { signal } else { -signal }.to_string())
        .collect();
    let words = [before, &["python3", "-c", REPORTER]].concat();
    exec(NOWHERE, &[], &[words, signals.iter().map(String::as_str).collect()].concat())
}

async fn each_comes_once(command: &mut Command) {
    // SIGUSR1 is sent twice.
    let came = (1..=64).filter(|signal| fate(*signal) == Fate::PassedOn);
    let came: Vec<_> = came.map(|signal| format!("{signal}:{}", if signal == 10 { 2 } else { 1 })).collect();
    let done = ended(command).await;
    assert_eq!((done.code, done.out.trim()), (5, came.join(" ").as_str()), "{}", done.err);
}

#[tokio::test]
async fn every_signal_from_1_to_64_has_the_fate_that_is_documented() {
    let harmless = |fate| matches!(fate, Fate::PassedOn | Fate::Dropped);
    each_comes_once(&mut reporter(&[], harmless)).await;
    // The command has a session of its own; pgtether leads one.
    each_comes_once(&mut reporter(&["setsid"], harmless)).await;
    each_comes_once(&mut started_by(&["setsid", "--wait"], &reporter(&[], harmless))).await;
    for signal in (1..=64).filter(|signal| fate(*signal) == Fate::Ends) {
        // Reads until pgtether and the test let go of the pipe.
        let mut talk = Talk::with(exec_sh(NOWHERE, &[], "echo ready; read line").stdin(Stdio::piped()));
        assert_eq!(talk.next().await, "ready");
        talk.send(signal).await;
        assert_eq!(talk.status().await.signal(), Some(signal));
    }
    let mut talk = Talk::with(&mut exec_sh(
        NOWHERE,
        &[],
        "trap 'echo on; exit 6' CONT; echo ready; while :; do sleep 0.02; done",
    ));
    assert_eq!(talk.next().await, "ready");
    talk.send(19).await;
    let state = format!("/proc/{}/stat", talk.child.id().unwrap());
    wait_until(SOON, "pgtether to stop", async || {
        let stat = std::fs::read_to_string(&state).unwrap();
        if stat.contains(") T ") { Ok(()) } else { Err(stat) }
    })
    .await;
    talk.signal(Signal::SIGCONT);
    assert_eq!(talk.next().await, "on");
    assert_eq!(talk.code().await, Some(6));
}

#[tokio::test]
async fn as_process_1_it_passes_the_same_signals_on_and_its_children_cannot_end_it() {
    if !geteuid().is_root() {
        eprintln!("not root: only a process 1 is safe from signals that it does not catch");
        return;
    }
    let first = ["unshare", "--pid", "--fork", "--mount-proc"];
    for before in [&[][..], &["setsid"]] {
        each_comes_once(&mut started_by(&first, &reporter(before, |fate| fate != Fate::Unsent))).await;
    }
}

#[tokio::test]
async fn what_is_ignored_at_the_start_stays_ignored_and_all_else_is_as_it_was() {
    for (ignored, mask) in
        [("", 0_u64), ("HUP", 1), ("HUP INT QUIT USR2 TSTP", 1 | 2 | 4 | 1 << 11 | 1 << 19), ("PIPE", 0)]
    {
        let trap = if ignored.is_empty() { String::new() } else { format!("trap '' {ignored}; ") };
        let shell = format!("{trap}exec \"$0\" \"$@\"");
        let show = "cat /proc/self/status";
        let done =
            ended(&mut started_by(&["sh", "-c", &shell], &exec(NOWHERE, &[], &["sh", "-c", show]))).await;
        let mask_of = |name: &str| {
            let line = done.out.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            // The C library's are not ours to tell of.
            u64::from_str_radix(line.trim(), 16).unwrap() & !(3 << 31)
        };
        let masks = ["SigBlk:", "SigIgn:", "SigCgt:"].map(mask_of);
        assert_eq!(masks, [0, mask, 0], "blocked, ignored, caught: {ignored}: {}", done.err);
    }
    let shell = "trap '' HUP; exec \"$0\" \"$@\"";
    let hung_up = "trap 'exit 7' TERM; kill -HUP $PPID; echo ready; while :; do sleep 0.02; done";
    let mut talk = Talk::with(&mut started_by(&["sh", "-c", shell], &exec_sh(NOWHERE, &[], hung_up)));
    assert_eq!(talk.next().await, "ready");
    talk.signal(Signal::SIGTERM);
    assert_eq!(talk.code().await, Some(7));
}

#[tokio::test]
async fn a_command_that_a_real_time_signal_kills_is_told_by_the_exit_code() {
    for signal in [34, 50, 64] {
        let done = ended(&mut exec_sh(NOWHERE, &[], &format!("kill -{signal} $$"))).await;
        assert_eq!(done.code, 128 + signal, "{done:?}");
    }
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

/// A small shell in a terminal of its own. It starts the rest of its arguments as a job in the foreground, and presses the
/// keys that its second argument names: ctrl-C, ctrl-\, ctrl-Z. A job that stops is looked at and continued, as by `fg`.
/// `apart` as the first argument gives the command a session of its own. Each line that comes is printed.
const TERMINAL: &str = r#"
import os, pty, signal, sys, time
COMMAND = r"""
import os, signal, sys
times = {}
def count(number, _):
    times[number] = times.get(number, 0) + 1
    # Long enough for a second one.
    signal.setitimer(signal.ITIMER_REAL, 0.3)
def tell(*_):
    if not times:
        return
    print("got", *(f"{signal.Signals(n).name}:{t}" for n, t in times.items()), flush=True)
    times.clear()
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGCONT):
    signal.signal(number, count)
signal.signal(signal.SIGALRM, tell)
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(4))
print("ready", os.getpid(), flush=True)
while True:
    signal.pause()
"""
session, keys, words = sys.argv[1], sys.argv[2], sys.argv[3:]
words += (["setsid"] if session == "apart" else []) + ["python3", "-c", COMMAND]
def state(pid):
    return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
shell, terminal = pty.fork()
if shell == 0:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execvp(words[0], words)
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        os.tcsetpgrp(0, os.getpgrp())
        if not os.WIFSTOPPED(status):
            print("exit", os.waitstatus_to_exitcode(status), flush=True)
            os._exit(0)
        command = int(input("stopped, which command? "))
        print("states", state(job), state(command), flush=True)
        os.tcsetpgrp(0, job)
        os.killpg(job, signal.SIGCONT)
said = b""
def until(word):
    global said
    while word not in said or b"\n" not in said.split(word, 1)[1]:
        said += os.read(terminal, 1024)
    line, said = said.split(word, 1)[1].split(b"\n", 1)
    return line.decode().split()
command, = until(b"ready")
KEYS = {"C": (b"\x03", "SIGINT"), "\\": (b"\x1c", "SIGQUIT"), "Z": (b"\x1a", "SIGCONT")}
for key in keys:
    byte, name = KEYS[key]
    os.write(terminal, byte)
    if key == "Z":
        while b"which command? " not in said:
            said += os.read(terminal, 1024)
        os.write(terminal, command.encode() + b"\n")
        print(*until(b"states"), end=" ")
    got = until(b"got")
    # Two that continue it, the shell and pgtether: the second may come late.
    while not any(word.startswith(name) for word in got):
        got = until(b"got")
    print(*got, end=", ")
os.kill(int(command), signal.SIGUSR1)
print(*until(b"exit"))
"#;

async fn in_a_terminal(session: &str, keys: &str) -> String {
    let mut exec = exec(NOWHERE, &[], &[]);
    exec.env("PGTETHER_LOG_LEVEL", "error");
    let python = &mut started_by(&["python3", "-c", TERMINAL, session, keys], &exec);
    let done = ended(python).await;
    assert_eq!(done.code, 0, "{done:?}");
    done.out.trim().to_owned()
}

#[tokio::test]
async fn what_the_terminal_sends_to_its_group_reaches_the_command_once() {
    assert_eq!(in_a_terminal("shared", "C\\C").await, "SIGINT:1, SIGQUIT:1, SIGINT:1, 4");
    // The terminal does not know it.
    assert_eq!(in_a_terminal("apart", "C\\").await, "SIGINT:1, SIGQUIT:1, 4");
}

#[tokio::test]
async fn ctrl_z_stops_the_command_and_pgtether_and_fg_continues_both() {
    let told = in_a_terminal("shared", "ZZC").await;
    let twice = "T T SIGCONT:";
    assert_eq!(told.matches(twice).count(), 2, "{told}");
    assert!(told.ends_with(", SIGINT:1, 4"), "{told}");
}
