use super::*;

fn lines_of(file: &OpenFile) -> Vec<String> {
    let mut lines = Vec::new();
    file.read(|line| lines.push(String::from_utf8_lossy(line).into_owned())).unwrap();
    lines
}

#[test]
fn what_is_appended_and_put_in_its_place_is_read_again_by_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let mut file = OpenFile::open(&path).unwrap();
    assert_eq!(lines_of(&file), [""; 0]);
    file.append(b"one\ntwo\n").unwrap();
    assert_eq!(lines_of(&file), ["one\n", "two\n"]);
    file.replace(b"three\n").unwrap();
    file.append(b"four\nfi").unwrap();
    assert_eq!(lines_of(&file), ["three\n", "four\n", "fi"]);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
    assert!(file.is_in_place());
    fs::remove_file(&path).unwrap();
    assert!(!file.is_in_place());
}

#[test]
fn two_do_not_write_it_and_the_second_gets_it_when_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let mut first = OpenFile::open(&path).unwrap();
    assert_eq!(OpenFile::open(&path).unwrap_err(), "another process writes it");
    first.replace(b"one\n").unwrap();
    assert_eq!(OpenFile::open(&path).unwrap_err(), "another process writes it", "what is in its place, too");
    drop(first);
    assert_eq!(lines_of(&OpenFile::open(&path).unwrap()), ["one\n"]);
}

#[test]
fn what_is_no_file_and_where_none_can_be_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for device in [Path::new("/dev/full"), Path::new("/dev/zero"), folder.path()] {
        assert_eq!(OpenFile::open(device).unwrap_err(), "it is no regular file");
    }
    let nowhere = OpenFile::open(&folder.path().join("no/where")).unwrap_err();
    assert!(nowhere.starts_with("it cannot be opened: No such file"), "{nowhere}");
}

#[test]
fn a_file_grows_to_twice_what_it_needs_and_a_little_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = OpenFile::open(&folder.path().join("history.jsonl")).unwrap();
    file.replace(&[b'x'; 1000]).unwrap();
    file.append(&vec![b'y'; (1 << 20) + 1000]).unwrap();
    assert!(!file.is_too_long());
    file.append(b"z").unwrap();
    assert!(file.is_too_long());
}

#[test]
fn a_line_without_end_is_shown_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = OpenFile::open(&folder.path().join("history.jsonl")).unwrap();
    file.append(&vec![b'x'; 200_000]).unwrap();
    assert!(lines_of(&file).iter().all(|line| line.len() as u64 <= LINE));
    assert_eq!(lines_of(&file).concat().len(), 200_000);
}
