//! What a client prefers, q-values honoured. Nobody is refused: who asks for nothing we have gets the usual.

use hyper::header::{self, HeaderMap, HeaderName};

use crate::health::Vocabulary;

/// Whether the body may go out as gzip, and nothing else was preferred.
pub(super) fn wants_gzip(headers: &HeaderMap) -> bool {
    let quality = |coding| quality(headers, header::ACCEPT_ENCODING, coding);
    let gzip = quality("gzip").or(quality("*")).unwrap_or(0.0);
    gzip > 0.0 && gzip >= quality("identity").unwrap_or(0.0)
}

/// The draft's vocabulary for those who name it. Browsers and checkers that take anything get the plain one.
pub(super) fn vocabulary(headers: &HeaderMap) -> Vocabulary {
    let quality = |media| quality(headers, header::ACCEPT, media);
    let plain = quality("application/json").or(quality("application/*")).or(quality("*/*")).unwrap_or(0.0);
    match quality("application/health+json") {
        Some(draft) if draft > 0.0 && draft >= plain => Vocabulary::Draft,
        _ => Vocabulary::Plain,
    }
}

/// The q-value that the list in `header` gives to `wanted`; `None` where it does not name it.
fn quality(headers: &HeaderMap, header: HeaderName, wanted: &str) -> Option<f32> {
    let lists = headers.get_all(header);
    let items = lists.iter().filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    items
        .filter_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let named = parts.next()?.eq_ignore_ascii_case(wanted);
            let q = parts.find_map(|parameter| {
                let (key, value) = parameter.split_once('=')?;
                key.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().ok())
            });
            // No q is 1; one that is no number makes the item void.
            named.then_some(q.unwrap_or(Some(1.0)))?
        })
        .find(|q: &f32| (0.0..=1.0).contains(q))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|v| (name.clone(), v.parse().unwrap())).collect()
    }

    #[test]
    fn gzip_goes_to_those_who_want_it() {
        for (list, wanted) in [
            ("gzip", true),
            ("GZIP", true),
            ("deflate, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0.8, identity;q=0.8", true),
            ("gzip;q=0", false),
            ("gzip; q = 0.0, *", false),
            ("gzip;q=0.5, identity", false),
            ("identity", false),
            ("br, zstd", false),
            ("gzipped", false),
            ("gzip;q=loud", false),
            ("gzip;q=7", false),
            ("", false),
        ] {
            assert_eq!(wants_gzip(&accept(header::ACCEPT_ENCODING, &[list])), wanted, "{list}");
        }
        assert!(!wants_gzip(&HeaderMap::new()));
        assert!(wants_gzip(&accept(header::ACCEPT_ENCODING, &["br", "gzip"])), "two header lines");
    }

    #[test]
    fn only_who_names_the_draft_gets_it() {
        for (list, vocabulary_wanted) in [
            ("application/health+json", Vocabulary::Draft),
            ("application/health+json, application/json", Vocabulary::Draft),
            ("application/health+json, */*", Vocabulary::Draft),
            ("application/json;q=0.8, application/health+json;q=0.9", Vocabulary::Draft),
            ("Application/Health+JSON; charset=utf-8", Vocabulary::Draft),
            ("application/json, application/health+json;q=0.9", Vocabulary::Plain),
            ("application/health+json;q=0, */*", Vocabulary::Plain),
            ("application/health+json;q=0.1, */*", Vocabulary::Plain),
            ("*/*", Vocabulary::Plain),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Vocabulary::Plain),
            ("image/png", Vocabulary::Plain),
            ("", Vocabulary::Plain),
        ] {
            assert_eq!(vocabulary(&accept(header::ACCEPT, &[list])), vocabulary_wanted, "{list}");
        }
        assert_eq!(vocabulary(&HeaderMap::new()), Vocabulary::Plain);
    }
}
