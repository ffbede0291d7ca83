//! Streams that nobody thought of, cut anywhere.

use proptest::prelude::*;

use super::*;

/// A few messages that a client may send, in any order.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["", "a", "b", "much_longer_name"]);
    prop_oneof![
        name.clone().prop_map(|name| parse(name, "select $1")),
        name.clone().prop_map(bind),
        name.clone().prop_map(describe),
        name.prop_map(close),
        Just(execute()),
        Just(sync()),
        Just(query("select 'some text'")),
        Just(message(b'd', &[7; 300])),
        Just(message(b'B', &[b"\0a\0".as_slice(), &[1; 70_000]].concat())),
    ]
}

/// Where a chunk ends, a Flush of ours may stand.
fn without_flushes(mut bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some(frame) = Frame::read(bytes).unwrap() {
        let (message, rest) = bytes.split_at(frame.len.min(bytes.len()));
        kept.extend_from_slice(if frame.tag == b'H' { b"" } else { message });
        bytes = rest;
    }
    kept
}

proptest! {
    #[test]
    fn it_does_not_matter_where_the_stream_is_cut(
        messages in prop::collection::vec(any_message(), 1..12),
        cuts in prop::collection::vec(1usize..9000, 1..40),
    ) {
        let bytes = messages.concat();
        let whole = Pair::new().asks(&bytes);
        let mut pair = Pair::new();
        let (mut parts, mut rest, mut cuts) = (Vec::new(), &bytes[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (part, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            parts.extend(pair.asks(part));
            rest = later;
        }
        prop_assert_eq!(without_flushes(&parts), without_flushes(&whole));
    }

    #[test]
    fn no_bytes_of_a_client_or_a_server_are_a_surprise(
        asked in prop::collection::vec(any::<u8>(), 0..300),
        answered in prop::collection::vec(any::<u8>(), 0..300),
        tags in prop::collection::vec(prop::sample::select(b"QPBDCESHFdcfXZ13GSENAT".to_vec()), 2),
    ) {
        let mut pair = Pair::new();
        for (client, mut bytes) in [(true, asked), (false, answered)] {
            // Half of them with a header that leads somewhere.
            if bytes.len() > 20 && bytes[0] % 2 == 0 {
                bytes[0] = tags[usize::from(client)];
                bytes[1..5].copy_from_slice(&[0, 0, 0, 12]);
            }
            for chunk in bytes.chunks(7) {
                let mut out = Vec::new();
                let (link, mut statements) = pair.statements();
                let refused = match client {
                    true => link.client_sent(chunk, &mut out, &mut statements).is_err(),
                    false => link.server_sent(chunk, &mut out, &mut statements, &mut Nobody).is_err(),
                };
                // A peer that breaks the protocol is not listened to any more.
                if refused {
                    break;
                }
            }
        }
    }
}
