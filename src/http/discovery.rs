//! `/api/v1/sd`: the targets as Prometheus' HTTP service discovery reads them, so that `/probe` needs no second list.

use std::collections::BTreeMap;

use serde::Serialize;

use super::App;
use crate::status::{Moment, View};

/// One target, with what relabelling can choose by; Prometheus drops such labels afterwards.
#[derive(Debug, Serialize)]
struct TargetGroup<'a> {
    targets: [&'a str; 1],
    labels: BTreeMap<&'static str, String>,
}

pub(super) fn render(app: &App, now: Moment) -> serde_json::Result<Vec<u8>> {
    app.board.look(now, |views| serde_json::to_vec(&views.iter().map(group).collect::<Vec<_>>()))
}

fn group<'a>(view: &View<'a>) -> TargetGroup<'a> {
    let status = view.status;
    let mut labels = BTreeMap::from([
        ("__meta_pgtether_pool", view.pool.is_some().to_string()),
        ("__meta_pgtether_required", status.tuning.required.to_string()),
    ]);
    // Unknown until the connection string was read.
    if let Some(location) = &status.location {
        labels.extend([
            ("__meta_pgtether_host", location.host.clone()),
            ("__meta_pgtether_port", location.port.to_string()),
            ("__meta_pgtether_database", location.database.clone()),
            ("__meta_pgtether_provider", location.provider.as_str().to_owned()),
        ]);
    }
    TargetGroup { targets: [status.name.as_str()], labels }
}
