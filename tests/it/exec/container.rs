//! As in a container: process 1, not root, nothing to write to.

use std::path::Path;

use nix::unistd::geteuid;

use super::{NOWHERE, ended, exec, exec_sh, psql, server, started_by};

/// Makes an orphan that ends, and waits until nothing is left of it.
const ORPHAN: &str = "
import os, sys, time
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(write, str(os.getpid()).encode())
        os._exit(3)
    os._exit(0)
os.wait()
orphan = os.read(read, 20).decode()
deadline = time.monotonic() + 20
while os.path.exists(f'/proc/{orphan}'):
    if time.monotonic() > deadline:
        sys.exit(open(f'/proc/{orphan}/status').read())
    time.sleep(0.01)
print('reaped by', os.getppid())
sys.exit(6)";

#[tokio::test]
async fn orphans_are_reaped() {
    // The kernel gives it the orphans of all below it, as to process 1.
    let reaper = "import ctypes, os, sys
if ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) != 0: sys.exit('not a reaper')
os.execv(sys.argv[1], sys.argv[1:])";
    let exec = exec(NOWHERE, &[], &["python3", "-c", ORPHAN]);
    let done = ended(&mut started_by(&["python3", "-c", reaper], &exec)).await;
    assert!(done.code == 6 && done.out.starts_with("reaped by"), "{done:?}");
}

#[tokio::test]
async fn as_process_1_it_reaps_and_ends_with_the_commands_code() {
    if !geteuid().is_root() {
        eprintln!("not root: the tests with PR_SET_CHILD_SUBREAPER stand for process 1");
        return;
    }
    let first = ["unshare", "--pid", "--fork", "--mount-proc"];
    let reaping = exec(NOWHERE, &[], &["python3", "-c", ORPHAN]);
    let done = ended(&mut started_by(&first, &reaping)).await;
    assert_eq!((done.code, done.out.trim()), (6, "reaped by 1"), "{}", done.err);
}

#[tokio::test]
async fn it_needs_no_root_and_nothing_to_write_to() {
    let cluster = server();
    let mut exec = exec_sh(&cluster.superuser_url(), &[], &psql("SELECT 'read-only'"));
    exec.env("TMPDIR", "/nonexistent").env("HOME", "/nonexistent");
    let command = &mut match geteuid().is_root() {
        true => {
            let program = Path::new(env!("CARGO_BIN_EXE_pgtether"));
            assert!(program.exists());
            let nobody = "mount -o bind,remount,ro / && ! touch /tmp/x 2>/dev/null &&
                          exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs \"$0\" \"$@\"";
            started_by(&["unshare", "--mount", "sh", "-c", nobody], &exec)
        }
        false => exec,
    };
    let done = ended(command.current_dir("/")).await;
    assert_eq!((done.code, done.out.trim()), (0, "read-only"), "{}", done.err);
}
