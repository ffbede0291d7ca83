//! The queue before a reader that comes when the test says so.

use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, Sender};

use super::*;

/// A reader that reads nothing until it is told to read for ever.
#[derive(Debug)]
struct Reader {
    written: Arc<Mutex<Vec<u8>>>,
    reads: Sender<()>,
}

impl Reader {
    /// Reads from now on; returns what there is when nothing waits any more.
    fn read(self, output: &LogOutput) -> String {
        drop(self.reads);
        settle(output);
        String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
    }
}

/// Waits until the thread has written everything, as long as that may take.
fn settle(output: &LogOutput) {
    let mut waiting = output.shared.waiting();
    while !waiting.is_empty() || waiting.writing {
        waiting = output.shared.changed.wait(waiting).unwrap();
    }
}

struct Pipe {
    written: Arc<Mutex<Vec<u8>>>,
    reader: Receiver<()>,
    /// What it answers before it takes anything.
    answers: Vec<io::ErrorKind>,
}

impl Write for Pipe {
    /// Takes three bytes at a time: a line is more than one write.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(answer) = self.answers.pop() {
            return Err(answer.into());
        }
        let _ = self.reader.recv();
        let taken = bytes.len().min(3);
        self.written.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stalled(answers: &[io::ErrorKind]) -> (LogOutput, Reader) {
    let written = Arc::new(Mutex::new(Vec::new()));
    let (reads, reader) = mpsc::channel();
    let pipe = Pipe { written: written.clone(), reader, answers: answers.to_vec() };
    let own = Arc::new(OnceLock::<LogOutput>::new());
    let teller = own.clone();
    let tell = move |lines| teller.wait().take(format!("{lines} dropped\n").as_bytes());
    let output = LogOutput::to(pipe, tell).unwrap();
    own.set(output.clone()).unwrap();
    (output, Reader { written, reads })
}

/// A line of 1 KiB that begins with a number.
fn line(number: u64) -> Vec<u8> {
    format!("{number:<1023}\n").into_bytes()
}

/// Writes until a line is dropped; returns how many went in. The thread waits with the first one.
fn fill(output: &LogOutput) -> u64 {
    output.take(&line(0));
    while !output.shared.waiting().writing {
        thread::yield_now();
    }
    (1..)
        .find(|number| {
            output.take(&line(*number));
            output.dropped().get() > 0
        })
        .unwrap()
}

#[test]
fn who_writes_waits_for_no_reader_and_memory_is_bounded() {
    let (output, _reader) = stalled(&[]);
    let kept = fill(&output);
    assert_eq!(kept, 1025, "a MiB beside the line that the thread has");
    for number in 0..10_000 {
        output.take(&line(number));
    }
    assert_eq!(output.dropped().get(), 10_001);
    assert!(output.shared.waiting().text.capacity() <= 2 * QUEUE);
}

#[test]
fn when_it_flows_again_one_line_tells_how_many_are_missing_at_their_place() {
    let (output, reader) = stalled(&[]);
    let kept = fill(&output);
    output.take(b"too long for what is left\nof two lines\n");
    // Room for it there is, and still it would come after lines that are missing.
    output.take(b"!\n");
    assert_eq!(output.dropped().get(), 4);
    let before = reader.read(&output);
    let numbers: Vec<_> = before.lines().map(str::trim_end).collect();
    let wanted: Vec<_> = (0..kept).map(|number| number.to_string()).chain(["4 dropped".to_owned()]).collect();
    assert_eq!(numbers, wanted);

    output.take(b"after\n");
    settle(&output);
    assert_eq!(output.dropped().get(), 4, "nothing is dropped any more");
}

#[test]
fn a_line_that_no_queue_holds_does_not_stop_the_next_ones() {
    let (output, reader) = stalled(&[]);
    let mut long = vec![b'x'; QUEUE];
    long.push(b'\n');
    output.take(&long);
    assert_eq!(output.dropped().get(), 1);
    while output.shared.waiting().missing > 0 {
        thread::yield_now();
    }
    output.take(b"next\n");
    let text = reader.read(&output);
    assert!(["1 dropped\nnext\n", "next\n1 dropped\n"].contains(&text.as_str()), "{text}");
}

#[test]
fn the_last_words_come_after_all_that_waits_however_long_they_are() {
    let (output, reader) = stalled(&[]);
    output.take(b"first\n");
    let words = "why ".repeat(20_000);
    thread::scope(|scope| {
        let ends = scope.spawn(|| output.finish(&words));
        drop(reader.reads);
        ends.join().unwrap();
    });
    let text = String::from_utf8(reader.written.lock().unwrap().clone()).unwrap();
    assert_eq!(text, format!("first\n{}\n", words.trim_end()));
}

#[test]
fn the_end_waits_for_a_reader_for_a_bounded_time() {
    let (output, _reader) = stalled(&[]);
    let began = Instant::now();
    output.finish("nobody reads this");
    let took = began.elapsed();
    assert!(took >= LAST_LINES && took < LAST_LINES * 10, "{took:?}");
}

#[test]
fn a_sink_that_is_full_for_now_is_tried_again_and_one_that_is_closed_counts() {
    let (output, reader) =
        stalled(&[io::ErrorKind::BrokenPipe, io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted]);
    output.take(b"lost\nwritten\n");
    assert_eq!(reader.read(&output), "written\n");
    assert_eq!(output.dropped().get(), 1);
}
