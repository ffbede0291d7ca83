//! PromQL as a syntax tree: which metrics a query reads, and by which labels.

use std::collections::BTreeSet;

use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};

/// A metric that a query reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    pub metric: String,
    /// What its labels must be: name, operator and value.
    pub matchers: Vec<(String, String, String)>,
}

/// All that a query names.
#[derive(Debug, Default)]
pub struct Names {
    pub reads: Vec<Read>,
    /// Labels in `by`, `without`, `on`, `ignoring` and `group_left`.
    pub labels: BTreeSet<String>,
}

/// Reads a query; fails the test where it is none.
pub fn names(expr: &str) -> Names {
    let parsed = parser::parse(expr).unwrap_or_else(|e| panic!("{e} in {expr}"));
    let mut names = Names::default();
    names.visit(&parsed);
    names
}

impl Names {
    fn visit(&mut self, expr: &Expr) {
        match expr {
            Expr::Aggregate(aggregate) => {
                self.group(aggregate.modifier.as_ref());
                self.visit(&aggregate.expr);
                if let Some(param) = &aggregate.param {
                    self.visit(param);
                }
            }
            Expr::Binary(binary) => {
                if let Some(modifier) = &binary.modifier {
                    self.group(modifier.matching.as_ref());
                    let carried = modifier.card.labels().into_iter().flat_map(|l| l.labels.iter());
                    self.labels.extend(carried.cloned());
                }
                self.visit(&binary.lhs);
                self.visit(&binary.rhs);
            }
            Expr::Unary(unary) => self.visit(&unary.expr),
            Expr::Paren(paren) => self.visit(&paren.expr),
            Expr::Subquery(subquery) => self.visit(&subquery.expr),
            Expr::Call(call) => call.args.args.iter().for_each(|arg| self.visit(arg)),
            Expr::VectorSelector(selector) => self.read(selector),
            Expr::MatrixSelector(matrix) => self.read(&matrix.vs),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
            Expr::Extension(_) => panic!("not PromQL: {expr:?}"),
        }
    }

    fn group(&mut self, modifier: Option<&LabelModifier>) {
        let labels = modifier.into_iter().flat_map(|modifier| modifier.labels().labels.iter());
        self.labels.extend(labels.cloned());
    }

    fn read(&mut self, selector: &VectorSelector) {
        let metric = selector.name.clone().unwrap_or_else(|| panic!("a selector without a name: {selector}"));
        assert!(selector.matchers.or_matchers.is_empty(), "not PromQL of Prometheus: {selector}");
        let matchers = selector.matchers.matchers.iter();
        let matchers = matchers.map(|m| (m.name.clone(), m.op.to_string(), m.value.clone())).collect();
        self.reads.push(Read { metric, matchers });
    }
}

#[test]
fn a_query_tells_every_metric_and_label_in_it() {
    let names = names(
        r#"max without (pod) (rate(a_total{x="1"}[5m]) > 0) and on (job) topk(3, b) / ignoring (c) group_left (d) e{y=~"."}"#,
    );
    let metrics: Vec<_> = names.reads.iter().map(|read| read.metric.as_str()).collect();
    assert_eq!(metrics, ["a_total", "b", "e"]);
    assert_eq!(names.reads[0].matchers, [("x".to_owned(), "=".to_owned(), "1".to_owned())]);
    assert_eq!(names.labels.into_iter().collect::<Vec<_>>(), ["c", "d", "job", "pod"]);
}
