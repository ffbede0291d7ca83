use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use proptest::prelude::*;

use super::*;

const HASH: &[u8] = &[7; 32];
const NONCE: &str = "server+half";

fn verifier(password: impl Into<Vec<u8>>) -> Verifier {
    Verifier::new(&Secret::new(password)).unwrap()
}

fn initial(mechanism: &str, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [mechanism.as_bytes(), b"\0", &length, message].concat()
}

fn bound() -> ChannelBinding {
    ChannelBinding::tls_server_end_point(HASH.to_vec())
}

/// A whole login; the client checks us, too.
fn login(
    verifier: &Verifier,
    password: &[u8],
    mechanism: &str,
    binding: ChannelBinding,
    end_point: Option<&[u8]>,
) -> Result<Proof, ErrorFields<'static>> {
    let mut client = ScramSha256::new(password, binding);
    let challenge = verifier.challenge(&initial(mechanism, client.message()), end_point, NONCE)?;
    client.update(challenge.message().as_bytes()).unwrap();
    let proof = challenge.judge(client.message())?;
    if let Proof::Right { outcome } = &proof {
        client.finish(outcome.as_bytes()).unwrap();
    }
    Ok(proof)
}

#[test]
fn the_right_password_proves_itself_and_so_do_we() {
    let verifier = verifier("pencil");
    for (mechanism, binding, end_point) in [
        (PLAIN, ChannelBinding::unsupported(), None),
        (PLAIN, ChannelBinding::unrequested(), None),
        (PLAIN, ChannelBinding::unsupported(), Some(HASH)),
        (PLUS, bound(), Some(HASH)),
    ] {
        let proof = login(&verifier, b"pencil", mechanism, binding, end_point).unwrap();
        assert!(matches!(proof, Proof::Right { .. }), "{mechanism} {end_point:?}");
    }
}

#[test]
fn another_password_is_wrong() {
    let verifier = verifier("pencil");
    for password in ["Pencil", "pencil ", "", "pencilpencil"] {
        let proof = login(&verifier, password.as_bytes(), PLAIN, ChannelBinding::unsupported(), None);
        assert_eq!(proof, Ok(Proof::Wrong), "{password:?}");
    }
}

/// RFC 7677, section 3.
#[test]
fn the_example_of_the_standard_comes_out_as_printed() {
    let salt = decode_block("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let verifier = Verifier::salted(&Secret::new("pencil"), &salt).unwrap();
    let first = initial(PLAIN, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let challenge = verifier.challenge(&first, None, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0").unwrap();
    assert_eq!(
        challenge.message(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let outcome = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_owned();
    assert_eq!(challenge.judge(last), Ok(Proof::Right { outcome }));
}

#[test]
fn a_client_that_was_told_of_no_channel_binding_is_turned_away() {
    let error = login(&verifier("x"), b"x", PLAIN, ChannelBinding::unrequested(), Some(HASH)).unwrap_err();
    assert_eq!((&*error.sqlstate, &*error.message), ("28000", "SCRAM channel binding negotiation error"));
}

#[test]
fn a_login_bound_to_another_certificate_is_turned_away() {
    let error = login(&verifier("x"), b"x", PLUS, bound(), Some(&[8; 32])).unwrap_err();
    assert_eq!((&*error.sqlstate, &*error.message), ("28000", "SCRAM channel binding check failed"));
}

#[test]
fn a_password_is_normalised_as_clients_do_it_or_taken_as_it_is() {
    for (ours, theirs) in [
        ("I\u{ad}X\u{2168}".as_bytes(), "IXIX".as_bytes()),
        ("päß".as_bytes(), "pa\u{308}ß".as_bytes()),
        (b"\xff\xfe", b"\xff\xfe"),
        ("bell\u{7}ü".as_bytes(), "bell\u{7}ü".as_bytes()),
    ] {
        let proof = login(&verifier(ours), theirs, PLAIN, ChannelBinding::unsupported(), None).unwrap();
        assert!(matches!(proof, Proof::Right { .. }), "{}", ours.escape_ascii());
    }
}

#[test]
fn what_is_offered_can_be_chosen_and_nothing_else() {
    let verifier = verifier("x");
    assert_eq!(mechanisms(None), ["SCRAM-SHA-256"]);
    assert_eq!(mechanisms(Some(HASH)), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    for (mechanism, header, end_point) in [
        (PLUS, "p=tls-server-end-point,,", None),
        (PLUS, "p=tls-unique,,", Some(HASH)),
        (PLUS, "n,,", Some(HASH)),
        (PLUS, "y,,", Some(HASH)),
        (PLAIN, "p=tls-server-end-point,,", Some(HASH)),
        (PLAIN, "p=tls-server-end-point,,", None),
        ("SCRAM-SHA-1", "n,,", None),
        ("", "n,,", None),
    ] {
        let first = initial(mechanism, format!("{header}n=,r=abc").as_bytes());
        let error = verifier.challenge(&first, end_point, NONCE).unwrap_err();
        assert_eq!(error.sqlstate, "08P01", "{mechanism} {header}");
    }
}

#[test]
fn a_first_message_that_is_none_is_refused() {
    let verifier = verifier("x");
    for (message, sqlstate) in [
        (&b""[..], "08P01"),
        (b"n", "08P01"),
        (b"n,", "08P01"),
        (b"n,,", "08P01"),
        (b"n,,r=abc", "08P01"),
        (b"n,,n=,r=", "08P01"),
        (b"n,,n=,r=a b", "08P01"),
        (b"n,,n=,r=\xff", "08P01"),
        (b"n,,n=,x=abc", "08P01"),
        (b"N,,n=,r=abc", "08P01"),
        (b"n,,m=ext,n=,r=abc", "0A000"),
        (b"n,a=admin,n=,r=abc", "0A000"),
    ] {
        let error = verifier.challenge(&initial(PLAIN, message), None, NONCE).unwrap_err();
        assert_eq!(error.sqlstate, sqlstate, "{}", message.escape_ascii());
    }
    let whole = initial(PLAIN, b"n,,n=,r=abc");
    assert!(verifier.challenge(&whole, None, NONCE).is_ok());
    for cut in 0..whole.len() {
        assert!(verifier.challenge(&whole[..cut], None, NONCE).is_err(), "cut at {cut}");
    }
    assert!(verifier.challenge(&[&whole[..], b"x"].concat(), None, NONCE).is_err(), "a byte too many");
}

#[test]
fn no_answer_that_was_changed_on_its_way_is_right() {
    let verifier = verifier("x");
    let mut client = ScramSha256::new(b"x", ChannelBinding::unsupported());
    let challenge = verifier.challenge(&initial(PLAIN, client.message()), None, NONCE).unwrap();
    client.update(challenge.message().as_bytes()).unwrap();
    let answer = client.message().to_vec();
    assert!(matches!(challenge.judge(&answer), Ok(Proof::Right { .. })));
    for place in 0..answer.len() {
        let mut changed = answer.clone();
        changed[place] ^= 1;
        // The last character of the proof has two bits that mean nothing.
        let is_same = decode_block(str::from_utf8(&changed[answer.len() - 44..]).unwrap_or_default()).ok()
            == decode_block(str::from_utf8(&answer[answer.len() - 44..]).unwrap()).ok()
            && place >= answer.len() - 44;
        let judged = challenge.judge(&changed);
        assert_eq!(matches!(judged, Ok(Proof::Right { .. })), is_same, "byte {place}: {judged:?}");
        assert!(!matches!(challenge.judge(&answer[..place]), Ok(Proof::Right { .. })), "cut at {place}");
    }
    let extended = String::from_utf8(answer).unwrap().replace(",p=", ",x=1,p=");
    assert_eq!(challenge.judge(extended.as_bytes()), Ok(Proof::Wrong), "an extension that was not proven");
}

#[test]
fn an_answer_serves_once() {
    let verifier = verifier("x");
    let mut client = ScramSha256::new(b"x", ChannelBinding::unsupported());
    let first = initial(PLAIN, client.message());
    let challenge = verifier.challenge(&first, None, NONCE).unwrap();
    client.update(challenge.message().as_bytes()).unwrap();
    let later = verifier.challenge(&first, None, "another").unwrap();
    assert_eq!(later.judge(client.message()).unwrap_err().sqlstate, "08P01");
}

#[test]
fn each_nonce_and_each_salt_is_new() {
    assert_ne!(nonce().unwrap(), nonce().unwrap());
    assert_eq!(nonce().unwrap().len(), 24);
    assert_ne!(verifier("x").salt, verifier("x").salt);
}

#[test]
fn a_verifier_shows_nothing_of_the_password() {
    assert_eq!(format!("{:?}", verifier("hunter2")), "Verifier { .. }");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_get_in(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[ -~]{0,80}") {
        let verifier = Verifier { salt: "c2FsdA==".to_owned(), stored: [1; 32], server: [2; 32] };
        for end_point in [None, Some(HASH)] {
            let _ = verifier.challenge(&bytes, end_point, NONCE);
            let _ = verifier.challenge(&initial(PLAIN, &bytes), end_point, NONCE);
            let _ = verifier.challenge(&initial(PLUS, format!("p=tls-server-end-point,,{text}").as_bytes()), end_point, NONCE);
        }
        let challenge = verifier.challenge(&initial(PLAIN, b"n,,n=,r=abc"), None, NONCE).unwrap();
        for answer in [&bytes[..], text.as_bytes(), format!("c=biws,r=abc{NONCE},p={text}").as_bytes()] {
            let is_in = matches!(challenge.judge(answer), Ok(Proof::Right { .. }));
            prop_assert!(!is_in);
        }
    }
}
