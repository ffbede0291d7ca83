//! Clients that come once and leave something behind, which no other client may notice.

use super::wire::Wire;

/// What `pg_dump` does to its session before it reads.
pub async fn dump(urls: &[String], dice: &mut fastrand::Rng) -> Result<(), String> {
    const WORDS: [&str; 8] = [
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "SET statement_timeout = 0",
        "SET row_security = off",
        "SET work_mem = '3MB'",
        "BEGIN",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "DECLARE dump CURSOR FOR SELECT * FROM public.accounts",
        "FETCH ALL FROM dump",
    ];
    // Up to anywhere, so that it also leaves between two of its settings.
    let wire = Wire::open(dice.choice(urls).unwrap(), &WORDS[..dice.usize(1..=WORDS.len())]).await?;
    leave(wire, dice).await
}

/// The column of `reshaped` gets another type. By one pool alone, as its owner.
pub async fn reshape(urls: &[String], dice: &mut fastrand::Rng) -> Result<(), String> {
    let kind = dice.choice(["text", "int4", "int8", "numeric"]).unwrap();
    let sql = format!("ALTER TABLE reshaped ALTER v TYPE {kind} USING v::text::{kind}");
    leave(Wire::open(&urls[0], &[&sql]).await?, dice).await
}

async fn leave(mut wire: Wire, dice: &mut fastrand::Rng) -> Result<(), String> {
    match dice.u32(0..3) {
        0 => wire.send(&[b'X', 0, 0, 0, 4]).await?,
        1 => wire.reset(),
        _ => {}
    }
    Ok(())
}
