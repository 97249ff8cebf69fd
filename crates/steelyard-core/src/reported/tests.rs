use super::*;
use proptest::prelude::*;

fn rules(change: impl FnOnce(&mut document::Reported)) -> Rules {
    let mut config = document::Reported {
        used_as: ReportedAs::Weight,
        field: None,
        metric: None,
        expiration_ms: None,
        blackout_ms: None,
        error_penalty: None,
        pass: false,
    };
    change(&mut config);
    Rules::new(&config)
}

fn as_load() -> Rules {
    rules(|config| config.used_as = ReportedAs::Load)
}

fn hear(reported: &Reported, rules: &Rules, values: &[&str], now_s: u64) -> Heard {
    reported.hear(values.iter().map(|value| value.as_bytes()), rules, 1, seconds(now_s))
}

fn seconds(seconds: u64) -> Nanos {
    Nanos::from_millis(1_000_000 + seconds * 1_000)
}

fn utilisation(value: &str, metric: Option<&str>) -> Option<f32> {
    let metric = Metric::of(metric).expect("the metric is sound");
    Metrics::read(value.as_bytes(), metric.name())?.utilisation(&metric)
}

const TEXT: &str = "TEXT cpu_utilization=0.25, application_utilization=0.5,rps_fractional=120 ,\tmem_utilization=1, eps=2, named_metrics.queue=4e-1";
const JSON: &str = r#"JSON {"cpu_utilization": 0.25, "applicationUtilization": 0.5, "rps_fractional": 120, "eps": 2,
    "request_cost": {"a": 1}, "named_metrics": {"other": 1, "queue": 0.4}}"#;

#[test]
fn both_forms_say_the_same() {
    for value in [TEXT, JSON] {
        for (metric, expected) in [
            (None, Some(0.5)),
            (Some("application_utilization"), Some(0.5)),
            (Some("cpu_utilization"), Some(0.25)),
            (Some("named_metrics.queue"), Some(0.4)),
            (Some("named_metrics.absent"), None),
        ] {
            assert_eq!(utilisation(value, metric), expected, "{metric:?} of {value}");
        }
        let metrics = Metrics::read(value.as_bytes(), None).expect("it is a report");
        assert_eq!((metrics.qps, metrics.eps), (Some(120.0), Some(2.0)));
    }
}

#[test]
fn the_processor_stands_in_for_an_application_that_says_nothing() {
    assert_eq!(utilisation("TEXT application_utilization=0, cpu_utilization=0.5", None), Some(0.5));
    assert_eq!(utilisation("TEXT cpu_utilization=0.5", None), Some(0.5));
    assert_eq!(utilisation("TEXT application_utilization=0", None), Some(0.0));
    assert_eq!(utilisation("TEXT cpu_utilization=0.5", Some("application_utilization")), None);
}

#[test]
fn anything_else_is_no_report() {
    for value in [
        "",
        "TEXT",
        "TEXT ",
        "TEXT cpu_utilization",
        "TEXT cpu_utilization=",
        "TEXT cpu_utilization=0.3,",
        "TEXT ,cpu_utilization=0.3",
        "TEXT cpu_utilization=0.3; eps=2",
        "TEXT cpu_utilization:0.3",
        "TEXT cpu_utilization =0.3",
        "TEXT cpu_utilization= 0.3",
        "TEXT cpu_utilization=nan",
        "TEXT cpu_utilization=inf",
        "TEXT cpu_utilization=+0.3",
        "TEXT cpu_utilization=-0.3",
        "TEXT cpu_utilization=1e10",
        "TEXT cpu_utilization=1e999",
        "TEXT cpu_utilization=0x1",
        "TEXT cpu_utilization=0.3, cpu_utilization=0.3",
        "TEXT other=text",
        "TEXT =1",
        "TEXT named_metrics.=1",
        "text cpu_utilization=0.3",
        "cpu_utilization=0.3",
        "BIN CZqZmZmZmbk/",
        "JSON",
        "JSON 3",
        "JSON []",
        "JSON null",
        r#"JSON {"cpu_utilization": 0.3} x"#,
        r#"JSON {"cpu_utilization": "0.3"}"#,
        r#"JSON {"cpu_utilization": null}"#,
        r#"JSON {"cpu_utilization": -0.3}"#,
        r#"JSON {"cpu_utilization": 1e10}"#,
        r#"JSON {"cpu_utilization": 1, "cpu_utilization": 1}"#,
        r#"JSON {"cpu_utilization": 1, "cpuUtilization": 1}"#,
        r#"JSON {"named_metrics": 1}"#,
        r#"JSON {"named_metrics": {"queue": "1"}}"#,
        r#"JSON {"named_metrics": {}, "namedMetrics": {}}"#,
        r#"JSON {"named_metrics": {"queue": 1, "queue": 1}}"#,
    ] {
        assert_eq!(Metrics::read(value.as_bytes(), Some("queue")), None, "{value}");
    }
    assert_eq!(Metrics::read(b"TEXT cpu_utilization=0.3, \xff=1", None), None);
}

#[test]
fn a_report_is_bounded() {
    let numbers = |count: usize| format!("TEXT {}", vec!["a=1"; count].join(","));
    assert!(Metrics::read(numbers(64).as_bytes(), None).is_some());
    assert!(Metrics::read(numbers(65).as_bytes(), None).is_none());
    let long = |count: usize| format!("TEXT {}=1", "a".repeat(count));
    assert!(Metrics::read(long(REPORT_BYTES_MAX - 7).as_bytes(), None).is_some());
    assert!(Metrics::read(long(REPORT_BYTES_MAX - 6).as_bytes(), None).is_none());
    let deep = format!(r#"JSON {{"a": {}"#, "[".repeat(2_000));
    assert!(Metrics::read(deep.as_bytes(), None).is_none());
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(form in "(TEXT |JSON |BIN )?", rest in ".{0,200}", named in proptest::option::of("[a-z.]{1,4}")) {
        let value = format!("{form}{rest}");
        if let Some(metrics) = Metrics::read(value.as_bytes(), named.as_deref()) {
            for number in [metrics.qps, metrics.eps, metrics.utilisation(&Metric::Any)].into_iter().flatten() {
                prop_assert!(number.is_finite() && number >= 0.0);
            }
        }
    }

    #[test]
    fn what_is_written_is_read(cpu in 0.0f32..1e6, qps in 0.0f32..1e6) {
        let value = format!("TEXT rps_fractional={qps},cpu_utilization={cpu:e}");
        let metrics = Metrics::read(value.as_bytes(), None).unwrap();
        prop_assert_eq!((metrics.qps, metrics.utilisation(&Metric::Cpu)), (Some(qps), Some(cpu)));
    }
}

#[test]
fn a_metric_is_one_of_those_that_reports_have() {
    for unknown in ["", "utilization", "named_metrics.", "named_metrics.a,b", "rps_fractional"] {
        assert_eq!(Metric::of(Some(unknown)), None, "{unknown}");
    }
}

#[test]
fn the_weight_is_what_the_endpoint_could_serve() {
    for (report, penalty, expected) in [
        ("TEXT rps_fractional=100, cpu_utilization=0.5", None, Some(200.0)),
        ("TEXT rps_fractional=100, cpu_utilization=0.5, eps=10", None, Some(100.0 / 0.6)),
        ("TEXT rps_fractional=100, cpu_utilization=0.5, eps=10", Some(0.0), Some(200.0)),
        ("TEXT rps_fractional=100, cpu_utilization=0.5, eps=100", Some(2.0), Some(40.0)),
        ("TEXT rps_fractional=100, cpu_utilization=0", None, None),
        ("TEXT rps_fractional=0, cpu_utilization=0.5", None, None),
        ("TEXT cpu_utilization=0.5", None, None),
        ("TEXT rps_fractional=100", None, None),
    ] {
        let rules = rules(|config| (config.error_penalty, config.blackout_ms) = (penalty, Some(1)));
        let reported = Reported::default();
        let heard = hear(&reported, &rules, &[report], 0);
        assert_eq!(heard, if expected.is_some() { Heard::Taken } else { Heard::Useless }, "{report}");
        assert_eq!(reported.weight(&rules, seconds(1)), expected, "{report}");
    }
}

const GOOD: &str = "TEXT rps_fractional=100, cpu_utilization=0.5";

#[test]
fn a_weight_counts_from_the_end_of_the_blackout_until_it_expires() {
    let (rules, reported) = (rules(|_| {}), Reported::default());
    assert_eq!(hear(&reported, &rules, &["TEXT rps_fractional=100, cpu_utilization=0"], 0), Heard::Useless);
    assert_eq!(hear(&reported, &rules, &[GOOD], 5), Heard::Taken, "an empty one begins nothing");
    assert_eq!(reported.weight(&rules, seconds(14)), None);
    assert_eq!(reported.weight(&rules, seconds(15)), Some(200.0));
    assert_eq!(reported.weight(&rules, seconds(184)), Some(200.0));
    assert_eq!(reported.weight(&rules, seconds(185)), None);
    // After that it begins anew.
    hear(&reported, &rules, &[GOOD], 200);
    assert_eq!(reported.weight(&rules, seconds(209)), None);
    assert_eq!(reported.weight(&rules, seconds(210)), Some(200.0));
    reported.begin();
    assert_eq!(reported.weight(&rules, seconds(211)), None, "so it does for one that comes back");
}

#[test]
fn several_fields_are_none() {
    let (rules, reported) = (rules(|_| {}), Reported::default());
    assert_eq!(hear(&reported, &rules, &[], 0), Heard::Nothing);
    assert_eq!(hear(&reported, &rules, &[GOOD, GOOD], 0), Heard::Malformed);
    assert_eq!(reported.last(), None);
}

/// In thousandths.
fn load(reported: &Reported, burden: f32, now_s: u64) -> u32 {
    (reported.load(0.4, burden, Stamp::of(seconds(now_s))) * 1e3).round() as u32
}

#[test]
fn requests_that_came_since_the_report_make_the_load_worse() {
    let reported = Reported::default();
    // One came with the report and three were beside it.
    reported.hear([&b"TEXT cpu_utilization=0.8"[..]].into_iter(), &as_load(), 4, seconds(0));
    assert_eq!([0.0, 3.0, 4.0, 7.0].map(|burden| load(&reported, burden, 0)), [800, 800, 1_000, 1_600]);
}

#[test]
fn an_idle_one_costs_something_and_one_that_does_not_report_is_as_usual() {
    let (idle, silent) = (Reported::default(), Reported::default());
    hear(&idle, &as_load(), &["TEXT cpu_utilization=0"], 0);
    assert_eq!([0.0, 1.0].map(|burden| load(&idle, burden, 0)), [10, 20]);
    assert_eq!([0.0, 1.0].map(|burden| load(&silent, burden, 0)), [400, 800]);
}

#[test]
fn an_old_report_fades_towards_what_is_usual() {
    let reported = Reported::default();
    hear(&reported, &as_load(), &["TEXT cpu_utilization=0.9"], 0);
    assert_eq!(load(&reported, 0.0, 1), 900);
    let faded = load(&reported, 0.0, 10);
    assert!(faded > 400 && faded < 700, "{faded}");
    assert_eq!(load(&reported, 0.0, 200), 400);
}
