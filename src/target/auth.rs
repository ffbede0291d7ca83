//! `require_auth`: by which methods a server may ask who we are. libpq's words and meaning.

/// A way for a server to ask for proof of who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// It does not ask.
    None,
    Password,
    Md5,
    Gss,
    Sspi,
    ScramSha256,
    Oauth,
}

impl AuthMethod {
    /// As they are written, in libpq's order.
    pub const ALL: [(&'static str, AuthMethod); 7] = [
        ("password", AuthMethod::Password),
        ("md5", AuthMethod::Md5),
        ("gss", AuthMethod::Gss),
        ("sspi", AuthMethod::Sspi),
        ("scram-sha-256", AuthMethod::ScramSha256),
        ("oauth", AuthMethod::Oauth),
        ("none", AuthMethod::None),
    ];

    /// What the code of an authentication request asks for; of SASL's mechanisms only SCRAM is spoken here.
    pub const fn of_request(code: u32) -> Option<AuthMethod> {
        match code {
            3 => Some(AuthMethod::Password),
            5 => Some(AuthMethod::Md5),
            7 => Some(AuthMethod::Gss),
            9 => Some(AuthMethod::Sspi),
            10 => Some(AuthMethod::ScramSha256),
            _ => None,
        }
    }

    /// What a server did that asked this way.
    pub const fn deed(self) -> &'static str {
        match self {
            AuthMethod::None => "logged us in without asking for a password",
            AuthMethod::Password => "asked for the password in clear text",
            AuthMethod::Md5 => "asked for an MD5 hash of the password",
            AuthMethod::Gss => "asked for GSSAPI",
            AuthMethod::Sspi => "asked for SSPI",
            AuthMethod::ScramSha256 => "asked for SCRAM-SHA-256",
            AuthMethod::Oauth => "asked for OAuth",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Whether pgtether can log in that way.
    const fn is_spoken(self) -> bool {
        !matches!(self, AuthMethod::Gss | AuthMethod::Sspi | AuthMethod::Oauth)
    }
}

/// The methods that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuthMethods(u8);

impl AuthMethods {
    const EVERY: u8 = (1 << AuthMethod::ALL.len()) - 1;

    /// Reads a list as libpq does: methods, or methods to leave out, each with `!`. The error says what is wrong with it,
    /// not what was written.
    pub fn parse(list: &str) -> Result<Self, &'static str> {
        let (mut named, mut negated) = (0, 0);
        for word in list.split(',') {
            let (word, bits) = match word.strip_prefix('!') {
                Some(word) => (word, &mut negated),
                None => (word, &mut named),
            };
            let Some((_, method)) = AuthMethod::ALL.iter().find(|(known, _)| *known == word) else {
                return Err(
                    "must be a list such as scram-sha-256,md5 or !password,!none, without blanks, of: \
                            password, md5, gss, sspi, scram-sha-256, oauth, none",
                );
            };
            if *bits & method.bit() != 0 {
                return Err("names a method twice");
            }
            *bits |= method.bit();
        }
        let allowed = match (named, negated) {
            (named, 0) => AuthMethods(named),
            (0, negated) => AuthMethods(!negated & Self::EVERY),
            (_, _) => return Err("mixes methods with and without `!`: take one kind"),
        };
        if AuthMethod::ALL.iter().any(|(_, method)| method.is_spoken() && allowed.has(*method)) {
            return Ok(allowed);
        }
        Err("leaves no method that pgtether speaks: password, md5, scram-sha-256 or none")
    }

    /// Whether a server may ask that way.
    pub const fn has(self, method: AuthMethod) -> bool {
        self.0 & method.bit() != 0
    }

    /// As a list of what is allowed.
    pub fn list(self) -> String {
        let allowed = AuthMethod::ALL.iter().filter(|(_, method)| self.has(*method));
        allowed.map(|(word, _)| *word).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_what_is_allowed_or_with_a_mark_what_is_not() {
        for (list, allowed) in [
            ("scram-sha-256", "scram-sha-256"),
            ("none,md5", "md5,none"),
            ("gss,password", "password,gss"),
            ("!password,!none", "md5,gss,sspi,scram-sha-256,oauth"),
            ("!scram-sha-256", "password,md5,gss,sspi,oauth,none"),
        ] {
            let methods = AuthMethods::parse(list).unwrap();
            assert_eq!(methods.list(), allowed, "{list}");
            assert_eq!(AuthMethods::parse(&methods.list()), Ok(methods), "{list}");
        }
    }

    #[test]
    fn what_is_no_such_list_is_told_without_what_was_written() {
        for (list, told) in [
            ("hunter2", "must be a list"),
            ("md5, password", "without blanks"),
            ("SCRAM-SHA-256", "must be a list"),
            ("md5,", "must be a list"),
            ("!", "must be a list"),
            ("!!md5", "must be a list"),
            ("md5,md5", "twice"),
            ("!md5,!md5", "twice"),
            ("md5,!password", "mixes"),
            ("!md5,password", "mixes"),
            ("gss,sspi,oauth", "leaves no method that pgtether speaks"),
            ("!password,!md5,!scram-sha-256,!none", "leaves no method that pgtether speaks"),
        ] {
            let problem = AuthMethods::parse(list).unwrap_err();
            assert!(problem.contains(told) && !problem.contains("hunter2"), "{list}: {problem}");
        }
    }
}
