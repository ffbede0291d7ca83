//! What PostgreSQL says in other languages than English, where SQLSTATE and routine are the same for opposite things: a
//! server that starts and one that shuts down both refuse a login by 57P03.

use super::diagnosis;
use crate::reason::{Class, Diagnosis, Reason, ServerWords};

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

/// What the DETAIL of a standby with `hot_standby = off` names in each language, and that of one that recovers does not.
const HOT_STANDBY: &[&str] = &[
    "hot standby",
    "hot-standby",
    "standby a caldo",
    "ホットスタンバイ",
    "ცხელი ლოდინის",
    "горячего резерва",
    "热备",
];

/// Whether a server that accepts no logins is a standby that never will. SQLSTATE and routine are those of any server that
/// starts; one that will be a hot standby says so with a hint.
pub fn is_cold_standby(sqlstate: &str, words: &ServerWords) -> bool {
    let detail = words.detail.as_deref().unwrap_or_default().to_ascii_lowercase();
    sqlstate == "57P03" && words.hint.is_none() && HOT_STANDBY.iter().any(|words| detail.contains(words))
}

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

    /// As servers say it with each lc_messages: without hot standby, and before it begins.
    #[test]
    fn a_standby_that_lets_nobody_in_is_told_from_one_that_recovers_in_every_language() {
        let rows = [
            ("Hot standby mode is disabled.", "Consistent recovery state has not been yet reached."),
            (
                "Hot-Standby-Modus ist deaktiviert.",
                "Konsistenter Wiederherstellungszustand wurde noch nicht erreicht.",
            ),
            (
                "El modo hot standby está desactivado.",
                "Aún no se ha alcanzado un estado de recuperación consistente.",
            ),
            (
                "Le mode Hot Standby est désactivé",
                "L'état de restauration cohérent n'a pas encore été atteint.",
            ),
            (
                "La modalità standby a caldo è disabilitata.",
                "Lo stato di ripristino coerente non è stato ancora raggiunto.",
            ),
            ("ホットスタンバイモードは無効です。", "リカバリの一貫性はまだ確保されていません。"),
            ("ცხელი ლოდინის რეჟიმი გამორთულია.", "Consistent recovery state has not been yet reached."),
            ("Hot standby 모드가 비활성화 되었습니다.", "일관성 복원 작업을 아직 끝내지 못했습니다."),
            ("Режим горячего резерва отключён.", "Согласованное состояние восстановления ещё не достигнуто."),
            ("Hot standby-läge är avstängt.", "Konsistent återställningstillstånd har ännu inte uppnåtts."),
            ("Режим Hot standby вимкнений.", "Узгодженого стану відновлення ще не досягнуто."),
        ];
        let words = |detail: &str| ServerWords { detail: Some(detail.to_owned()), ..ServerWords::default() };
        for (disabled, recovering) in rows {
            assert!(is_cold_standby("57P03", &words(disabled)), "{disabled}");
            assert!(!is_cold_standby("57P03", &words(recovering)), "{recovering}");
            assert!(!is_cold_standby("57P01", &words(disabled)), "{disabled}");
        }
        let soon = ServerWords {
            hint: Some("To enable hot standby, close write transactions on the primary server.".to_owned()),
            ..words("Recovery snapshot is not yet ready for hot standby.")
        };
        assert!(!is_cold_standby("57P03", &soon));
        assert!(!is_cold_standby("57P03", &ServerWords::default()));
    }
}
