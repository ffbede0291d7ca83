//! Files that the code writes and a test holds against it.

use std::path::Path;

/// Asserts that a file of the repository has that text; `make generated` writes it instead.
pub fn is(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        write(&path, text);
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(text.lines()).position(|(found, text)| found != text);
    let line = differs.unwrap_or(found.lines().count().min(text.lines().count()));
    assert!(
        found == text,
        "{file} is not what the code says from line {} on; `make generated` writes it anew:\n{}",
        line + 1,
        text.lines().nth(line).unwrap_or("(the end)")
    );
}

/// Replaces a file at once: other tests of the same run read it.
pub fn write(path: &Path, text: &str) {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, text).expect("the file can be written");
    std::fs::rename(&fresh, path).expect("the file can be replaced");
}
