//! Who runs a server.

/// Who runs the server, as far as its host name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    Neon,
    Supabase,
    Aurora,
    Rds,
    Azure,
    CloudSql,
    Other,
}

impl Provider {
    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Provider::Neon => "neon",
            Provider::Supabase => "supabase",
            Provider::Aurora => "aurora",
            Provider::Rds => "rds",
            Provider::Azure => "azure",
            Provider::CloudSql => "cloudsql",
            Provider::Other => "other",
        }
    }

    /// By the host's suffix.
    pub fn of(host: &str) -> Provider {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let under = |suffix: &str| host.ends_with(suffix);
        match () {
            () if under(".neon.tech") => Provider::Neon,
            () if under(".supabase.co") || under(".supabase.com") => Provider::Supabase,
            () if under(".rds.amazonaws.com") && host.contains(".cluster-") => Provider::Aurora,
            () if under(".rds.amazonaws.com") => Provider::Rds,
            () if under(".postgres.database.azure.com") => Provider::Azure,
            () if under(".sql.goog") => Provider::CloudSql,
            () => Provider::Other,
        }
    }
}
