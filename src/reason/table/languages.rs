//! What PostgreSQL says in other languages than English, where SQLSTATE and routine are the same for opposite things: a
//! server that starts and one that shuts down both refuse a login by 57P03.

use super::diagnosis;
use crate::reason::{Class, Diagnosis, Reason};

/// What only the sentence of a server that shuts down has, in each language that PostgreSQL is translated to.
const SHUTTING_DOWN: &[&str] = &[
    "herunter",
    "apagándose",
    "s'arrête",
    "spegnendo",
    "シャットダウン",
    "ითიშება",
    "중지",
    "останавливается",
    "stänger ner",
    "завершує роботу",
    "停止",
];

/// `message` is in lower case, as far as ASCII goes.
pub(super) fn find(sqlstate: &str, message: &str) -> Option<Diagnosis> {
    let ends = sqlstate == "57P03" && SHUTTING_DOWN.iter().any(|words| message.contains(words));
    ends.then_some(diagnosis(Reason::Shutdown, Class::Starting))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As servers say it with each lc_messages: that they shut down, and that they start.
    #[test]
    fn a_server_that_shuts_down_is_told_from_one_that_starts_in_every_language() {
        let rows = [
            ("das Datenbanksystem fährt herunter", "das Datenbanksystem startet"),
            ("el sistema de base de datos está apagándose", "el sistema de base de datos está iniciándose"),
            ("le système de base de données s'arrête", "le système de bases de données se lance"),
            ("il database si sta spegnendo", "il database si sta avviando"),
            ("データベースシステムはシャットダウンしています", "データベースシステムは起動処理中です"),
            ("მონაცემთა ბაზის სისტემა ითიშება", "მიმდინარეობს მონაცემთა ბაზის სისტემის გაშვება"),
            ("데이터베이스 시스템이 중지 중입니다", "데이터베이스 시스템이 새로 가동 중입니다."),
            ("система баз данных останавливается", "система баз данных запускается"),
            ("databassystemet stänger ner", "databassystemet startar upp"),
            ("система бази даних завершує роботу", "система бази даних запускається"),
            ("数据库系统停止中", "数据库系统启动中"),
        ];
        assert_eq!(rows.len(), SHUTTING_DOWN.len());
        for (ends, starts) in rows {
            let found = find("57P03", &ends.to_ascii_lowercase());
            assert_eq!(found, Some(diagnosis(Reason::Shutdown, Class::Starting)), "{ends}");
            assert_eq!(find("57P03", &starts.to_ascii_lowercase()), None, "{starts}");
            assert_eq!(find("57P01", &ends.to_ascii_lowercase()), None, "{ends}");
        }
    }
}
