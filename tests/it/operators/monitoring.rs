//! A real Prometheus and a real Alertmanager, on loopback, watching daemons in two namespaces.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use hyper::Method;

use pgtether::demo::postgres::free_port;
use pgtether::demo::scratch::Scratch;
use serde_json::Value;

use crate::process::{request, wait_until};

const PROMETHEUS: &str = "/usr/bin/prometheus";
const ALERTMANAGER: &str = "/usr/bin/prometheus-alertmanager";
const START: Duration = Duration::from_secs(30);
/// The namespaces of what is watched, as labels that discovery adds.
pub const PROD: &str = "prod";
pub const STAGING: &str = "staging";

/// Both of them. Dropping it ends them.
pub struct Monitoring {
    prometheus: SocketAddr,
    alertmanager: SocketAddr,
    processes: Vec<Child>,
    scratch: Scratch,
}

/// One series of an answer: its labels, and its values by time.
#[derive(Debug, Clone)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    pub values: Vec<(f64, f64)>,
}

/// An alert as Alertmanager has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Firing {
    pub name: String,
    pub severity: String,
    /// The target that it is about, or the file; of an alert on the daemon itself there is none. Outside of the namespace
    /// `prod` it begins with its namespace.
    pub about: Option<String>,
    /// Kept quiet by a louder one.
    pub inhibited: bool,
}

impl Monitoring {
    /// Starts both: scrapes `scraped` every second under these rules, and keeps quiet as `inhibitions` say.
    pub async fn start(scraped: &[(&str, SocketAddr)], rules: &str, inhibitions: &str) -> Monitoring {
        let scratch = Scratch::new().unwrap();
        let address = || SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let (prometheus, alertmanager) = (address(), address());
        let scrape = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 500ms}}\nrule_files: [rules.yaml, copy.yaml]\n\
             scrape_configs:\n  - job_name: pgtether\n    file_sd_configs: [{{files: [scraped.json]}}]\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n"
        );
        let route = format!(
            "route: {{receiver: nobody, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
             receivers: [{{name: nobody}}]\n{inhibitions}"
        );
        scratch.write(&scratch.path().join("prometheus.yml"), &scrape).unwrap();
        scratch.write(&scratch.path().join("alertmanager.yml"), &route).unwrap();
        scratch.write(&scratch.path().join("rules.yaml"), rules).unwrap();
        // Somebody else has loaded the recording rules too, as a second release of a chart may.
        let (recording, _) = rules.split_once("  - name: pgtether.alerts\n").unwrap();
        scratch.write(&scratch.path().join("copy.yaml"), recording).unwrap();
        let mut monitoring = Monitoring { prometheus, alertmanager, processes: Vec::new(), scratch };
        monitoring.scrape(scraped);
        monitoring.spawn(
            ALERTMANAGER,
            &[
                "--config.file=alertmanager.yml",
                "--storage.path=alerts",
                "--cluster.listen-address=",
                &format!("--web.listen-address={alertmanager}"),
            ],
        );
        monitoring.spawn(
            PROMETHEUS,
            &[
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=series",
                "--rules.alert.resend-delay=1s",
                &format!("--web.listen-address={prometheus}"),
            ],
        );
        for address in [alertmanager, prometheus] {
            monitoring.await_ready(address).await;
        }
        monitoring
    }

    /// Scrapes these, each of a namespace, from now on, as a cluster's discovery would have it; Prometheus takes it up
    /// within seconds.
    pub fn scrape(&self, scraped: &[(&str, SocketAddr)]) {
        let targets: Vec<_> = scraped
            .iter()
            .map(|(namespace, address)| {
                serde_json::json!({ "targets": [address.to_string()], "labels": { "namespace": namespace } })
            })
            .collect();
        let (file, fresh) = (self.scratch.path().join("scraped.json"), self.scratch.path().join("fresh"));
        self.scratch.write(&fresh, &Value::Array(targets).to_string()).unwrap();
        std::fs::rename(fresh, file).unwrap();
    }

    fn spawn(&mut self, program: &str, args: &[&str]) {
        let log = self.scratch.path().join(format!("{}.log", program.rsplit('/').next().unwrap()));
        let log = std::fs::File::create(log).unwrap();
        let mut command = self.scratch.command(Path::new(program), self.scratch.path());
        command.args(args).stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn();
        self.processes.push(process.unwrap_or_else(|e| panic!("{program}: {e}; `make tools` installs it")));
    }

    async fn await_ready(&mut self, address: SocketAddr) {
        wait_until(START, "Prometheus and Alertmanager", async || {
            let ended = self.processes.iter_mut().find_map(|process| process.try_wait().unwrap());
            assert!(ended.is_none(), "one ended at its start:\n{}", self.log());
            if tokio::net::TcpStream::connect(address).await.is_err() {
                return Err("it does not listen".to_owned());
            }
            let answer = request(address, Method::GET, "/-/ready", &[]).await;
            if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
        })
        .await;
    }

    /// The values of an expression at one time.
    pub async fn query(&self, expr: &str, at: f64) -> Vec<Series> {
        let parameters = [("query", expr.to_owned()), ("time", at.to_string())];
        self.ask("/api/v1/query", &parameters, "value").await
    }

    /// The values of an expression from one time to another, one a second.
    pub async fn query_range(&self, expr: &str, from: f64, to: f64) -> Vec<Series> {
        let parameters = [
            ("query", expr.to_owned()),
            ("start", from.to_string()),
            ("end", to.to_string()),
            ("step", "1".to_owned()),
        ];
        self.ask("/api/v1/query_range", &parameters, "values").await
    }

    async fn ask(&self, path: &str, parameters: &[(&str, String)], values: &str) -> Vec<Series> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let answer = request(self.prometheus, Method::GET, &format!("{path}?{query}"), &[]).await;
        assert_eq!(answer.status, 200, "{}\n{parameters:?}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["warnings"], Value::Null, "{parameters:?}");
        let series = answer["data"]["result"].as_array().unwrap();
        series.iter().map(|series| Series::read(series, values)).collect()
    }

    /// What fires now, as Alertmanager knows it.
    pub async fn firing(&self) -> Vec<Firing> {
        let answer = request(self.alertmanager, Method::GET, "/api/v2/alerts", &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut firing: Vec<_> = answer.json().as_array().unwrap().iter().map(Firing::read).collect();
        firing.sort();
        firing
    }

    /// All that both have said.
    pub fn log(&self) -> String {
        let files = std::fs::read_dir(self.scratch.path()).unwrap().map(|file| file.unwrap().path());
        let logs = files.filter(|file| file.extension().is_some_and(|end| end == "log"));
        logs.map(|file| std::fs::read_to_string(file).unwrap()).collect()
    }
}

impl Drop for Monitoring {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Series {
    fn read(json: &Value, values: &str) -> Series {
        let labels = json["metric"].as_object().unwrap();
        let labels = labels.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        let pair = |pair: &Value| (pair[0].as_f64().unwrap(), pair[1].as_str().unwrap().parse().unwrap());
        let values = match values {
            "value" => vec![pair(&json[values])],
            _ => json[values].as_array().unwrap().iter().map(pair).collect(),
        };
        Series { labels: labels.collect(), values }
    }

    /// The last value that is a number.
    pub fn last(&self) -> Option<f64> {
        self.values.iter().rev().map(|(_, value)| *value).find(|value| value.is_finite())
    }
}

impl Firing {
    fn read(json: &Value) -> Firing {
        let label = |name: &str| json["labels"][name].as_str().map(str::to_owned);
        let about = label("target").or_else(|| label("file"));
        let about = match label("namespace").filter(|namespace| namespace != PROD) {
            Some(namespace) => Some(format!("{namespace}/{}", about.unwrap_or_default())),
            None => about,
        };
        Firing {
            name: label("alertname").unwrap(),
            severity: label("severity").unwrap(),
            about,
            inhibited: json["status"]["inhibitedBy"].as_array().is_some_and(|by| !by.is_empty()),
        }
    }
}
