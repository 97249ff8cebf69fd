//! What makes the settings of reported load sound.

use super::super::zero;
use crate::document::{self, Load, ReportedAs};
use crate::policy::INTERPRETED;
use crate::problem::{Refusal, Report};
use crate::reported::Metric;

/// The most that errors can weigh.
const ERROR_PENALTY_MAX: f64 = 1_000.0;
/// The longest name of a field.
const FIELD_BYTES_MAX: usize = 64;

pub(super) fn check(config: &document::Pool, report: &mut Report) {
    let used_as = config.reported.as_ref().map(|reported| reported.used_as);
    if config.load == Load::Reported && used_as != Some(ReportedAs::Load) {
        let refusal =
            Refusal::new("the load is what endpoints report, and their reports are not used as a load");
        report.refuse_at("load", refusal.hint("write reported = \"load\" beside it"));
    }
    let Some(reported) = &config.reported else { return };
    report.at("reported", |report| {
        check_use(config, reported, report);
        check_numbers(reported, report);
    });
}

fn check_use(config: &document::Pool, reported: &document::Reported, report: &mut Report) {
    let policy = config.policy.name.as_str();
    match reported.used_as {
        ReportedAs::Load if config.load != Load::Reported => {
            let refusal = Refusal::new("the pool compares another load than the one that is reported");
            report.refuse_at("as", refusal.hint("write load = \"reported\", with policy = \"least_load\""));
        }
        ReportedAs::Weight if policy == "random" => {
            let refusal = Refusal::new("random pays no heed to weights");
            report.refuse_at("as", refusal.hint("weighted_random does, and so do the others"));
        }
        ReportedAs::Weight if policy == INTERPRETED => {
            let refusal = Refusal::new("an interpreted policy makes the weights already");
            report.refuse_at("as", refusal.hint("take reported out, or choose another policy"));
        }
        _ => {}
    }
    if reported.used_as == ReportedAs::Load {
        for (key, is_set) in [
            ("expiration", reported.expiration_ms.is_some()),
            ("blackout", reported.blackout_ms.is_some()),
            ("error_penalty", reported.error_penalty.is_some()),
        ] {
            if is_set {
                let refusal = Refusal::new(format!("a reported load has no {key}"));
                report.refuse_at(
                    key,
                    refusal.hint("it belongs to as = \"weight\"; an old load fades by itself"),
                );
            }
        }
    }
}

fn check_numbers(reported: &document::Reported, report: &mut Report) {
    if let Some(field) = &reported.field {
        report.keep("header", field_name(field));
    }
    if let Some(metric) = &reported.metric
        && Metric::of(Some(metric)).is_none()
    {
        let refusal = Refusal::new(format!("reports have no metric {metric:?}"));
        let hint = "\"application_utilization\", \"cpu_utilization\" or \"named_metrics.NAME\"";
        report.refuse_at("metric", refusal.hint(hint));
    }
    if reported.expiration_ms == Some(0) {
        report.refuse_at("expiration", zero("a report has to count for a while; \"3m\" is usual"));
    }
    if reported.error_penalty.is_some_and(|penalty| !(0.0..=ERROR_PENALTY_MAX).contains(&penalty)) {
        let refusal = Refusal::new("that is no weight for errors");
        report.refuse_at("error_penalty", refusal.hint(format!("from 0 to {ERROR_PENALTY_MAX}, as 1.0")));
    }
}

/// A name in lower case that no part of the proxy reads for itself.
fn field_name(name: &str) -> Result<(), Refusal> {
    let token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > FIELD_BYTES_MAX || !name.bytes().all(token) {
        return Err(Refusal::new(format!("{name:?} is no name for a field"))
            .hint("letters, digits, \"-\" and \"_\", as \"endpoint-load-metrics\""));
    }
    Ok(())
}
