//! Who is chosen for one seed, request by request: whatever makes a pick cheaper changes none of it.
//!
//! A pool is driven through response times, failures, thresholds, slow start, levels and learned weights, and all its
//! choices are put into one number for each policy.

use crate::support::{millis, pool};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use steelyard_core::policy::NAMES;
use steelyard_core::pool::{Outcome, Pick, Pool};
use steelyard_core::random::{Generator, below};
use steelyard_core::report::Report;
use steelyard_core::seeker::Seeker;
use steelyard_core::time::Nanos;

const REQUESTS: u64 = 20_000;

/// What each pool is like, beside its policy.
const SCENES: [(&str, usize); 6] =
    [("plain", 10), ("plain", 100), ("busy", 10), ("levels", 12), ("starting", 10), ("learned", 10)];

/// By policy, the choices in each scene as one number.
const CHOICES: &[(&str, [u64; SCENES.len()])] = &[
    (
        "round_robin",
        [
            0xf0a9_c9fd_6dfb_bc5d,
            0x371f_ceff_4ae1_e5ef,
            0x1701_f75f_fa01_c8f8,
            0x7c19_cd1d_aff0_09e1,
            0x01f2_8ba5_fe10_f44a,
            0x20f1_25fd_6f70_cc81,
        ],
    ),
    (
        "random",
        [
            0x7477_5c01_b5ce_6d8d,
            0x5b51_a0b7_58d7_8168,
            0x2aaf_40bb_2ced_9d7d,
            0x07a6_cf05_df8a_c683,
            0x21ae_c0ea_6c31_4740,
            0x7477_5c01_b5ce_6d8d,
        ],
    ),
    (
        "weighted",
        [
            0xf0a9_c9fd_6dfb_bc5d,
            0x371f_ceff_4ae1_e5ef,
            0x1701_f75f_fa01_c8f8,
            0x7c19_cd1d_aff0_09e1,
            0x01f2_8ba5_fe10_f44a,
            0x20f1_25fd_6f70_cc81,
        ],
    ),
    (
        "weighted_random",
        [
            0xf826_3d87_0906_eaf6,
            0x3d93_8d6e_4619_04df,
            0xb624_dc62_f2cf_03ca,
            0xfb0b_3383_818a_29a8,
            0x6bda_4bb1_e59c_76a0,
            0x333d_3635_acef_32ab,
        ],
    ),
    (
        "least_request",
        [
            0xffa9_7fca_b2b5_a306,
            0xdfe0_77fb_1428_e75e,
            0x13be_b7ce_326a_306e,
            0x8fd0_8ee9_ca84_bc73,
            0x33d9_b6e5_ebaf_5558,
            0x8690_c2cb_1d0d_4ce1,
        ],
    ),
    (
        "least_load",
        [
            0xffa9_7fca_b2b5_a306,
            0xdfe0_77fb_1428_e75e,
            0x13be_b7ce_326a_306e,
            0x8fd0_8ee9_ca84_bc73,
            0x33d9_b6e5_ebaf_5558,
            0x8690_c2cb_1d0d_4ce1,
        ],
    ),
    (
        "p2c",
        [
            0xa19f_a2ae_531d_6efd,
            0xdfe0_77fb_1428_e75e,
            0x47e8_ae27_39fe_2a08,
            0xc678_c09b_3b2e_b9aa,
            0x0386_0bb5_307a_5d50,
            0xd46d_7a0b_1055_665b,
        ],
    ),
    (
        "peak_ewma",
        [
            0x73e7_0f10_a3bc_2a62,
            0xdae8_5925_19a6_e2e9,
            0x30e6_d947_9f13_b793,
            0x306f_df51_1b70_6ed8,
            0x77b6_9dba_ecd4_b345,
            0x996e_9b37_a10e_9819,
        ],
    ),
    (
        "least_time",
        [
            0x7771_98f1_e267_0441,
            0x693b_5baa_f0f6_f086,
            0xc503_200b_8011_9f99,
            0x0705_9441_2b0d_eb55,
            0xee75_0b90_42d5_fb5c,
            0x8d07_aa99_552d_b658,
        ],
    ),
    (
        "ring_hash",
        [
            0xa847_ec2d_c1cb_c50c,
            0xc7a2_5ba0_60a6_32a2,
            0x562f_4879_bc8d_8fff,
            0x86cb_1389_d230_6e9c,
            0x27e9_fba3_5b6f_4e13,
            0x0a86_6250_e296_7487,
        ],
    ),
    (
        "maglev",
        [
            0x4d2e_677a_306e_7cd3,
            0x6bda_6fb7_b75f_1600,
            0x2e94_1140_deaa_ff65,
            0x5964_2d0b_b931_76c6,
            0xf3b2_3d57_f127_9075,
            0xe480_5d82_f37d_a9ff,
        ],
    ),
    (
        "rendezvous",
        [
            0x5b5e_ba7a_4a90_1bd4,
            0x4e0e_f929_210b_70c9,
            0x172d_42a5_0240_4d40,
            0x1462_9f4f_cab0_0e85,
            0x8ea3_442d_e641_78fe,
            0xdeb4_9bd7_b79d_7b70,
        ],
    ),
    (
        "bounded_hash",
        [
            0x766e_f413_f99b_47af,
            0x4f6a_ed90_9b60_9b81,
            0xa128_803d_35fd_9845,
            0x7976_6a02_fa46_8a54,
            0x83d1_b820_a6d0_27b9,
            0x2ce8_9ba0_b21e_88a7,
        ],
    ),
    (
        "sticky",
        [
            0xffa9_7fca_b2b5_a306,
            0xdfe0_77fb_1428_e75e,
            0x13be_b7ce_326a_306e,
            0x8fd0_8ee9_ca84_bc73,
            0x33d9_b6e5_ebaf_5558,
            0x8690_c2cb_1d0d_4ce1,
        ],
    ),
    (
        "join_idle_queue",
        [
            0xb32a_96cd_5c58_7060,
            0xa298_9297_32b5_9228,
            0x0189_4e2b_0a7a_34c0,
            0x2dde_8ca0_6f51_efe1,
            0x3205_8745_150d_55db,
            0xb116_42a7_c351_ebe6,
        ],
    ),
    (
        "prequal",
        [
            0xdb5f_e54a_2111_e200,
            0xc3da_c529_abb5_62d2,
            0x7298_2064_50d6_f9ec,
            0x80e1_52a0_e970_00cb,
            0x5148_16e5_84c4_c042,
            0x6c75_d1cf_9f46_65f4,
        ],
    ),
    (
        "by latency",
        [
            0x4cf0_6977_eb3a_772c,
            0x7d54_bf68_5756_4d99,
            0x250c_d1f6_fcba_7725,
            0x6eef_14c1_a570_942c,
            0x76ed_e889_a387_9e16,
            0x6006_38d6_de00_3e4d,
        ],
    ),
    (
        "by bytes",
        [
            0x4fbd_e302_c851_361e,
            0x221d_00d8_6e0d_af33,
            0x20f4_de2f_4aa5_18d7,
            0xe1d3_8046_67e5_59bb,
            0xe3a4_9070_7b57_f46f,
            0xf495_2e48_8eb6_cc73,
        ],
    ),
    (
        "by reports",
        [
            0x88cf_2699_d98d_a1f9,
            0x1e7f_ec50_3965_c60b,
            0x9eba_16eb_319d_7d84,
            0x0856_b2c2_1bfb_7d7e,
            0x30c8_dc91_d41a_e857,
            0x88cf_2699_d98d_a1f9,
        ],
    ),
    (
        "scored",
        [
            0x9355_607d_695d_e240,
            0x6299_e744_61f7_488f,
            0x3dd9_1e1c_3af7_14ae,
            0x6a6f_dcfd_0e6a_225c,
            0x317f_49d5_30db_4ec1,
            0xdfba_2cdb_51e0_dad6,
        ],
    ),
];

/// Policies with settings of their own, beside the names.
fn settings() -> Vec<(&'static str, &'static str, Value)> {
    let load = |load: &str| json!({"load": load});
    let mut all: Vec<_> = NAMES.into_iter().map(|name| (name, name, json!({}))).collect();
    for (label, kind) in [("by latency", "latency"), ("by bytes", "bytes"), ("by reports", "reported")] {
        all.push((label, "least_load", load(kind)));
    }
    let score = json!({"label": "m:score", "address": score as Score as usize, "of_two": false});
    all.push(("scored", "scored", json!({"policy": {"score": score}})));
    all
}

type Score = extern "C" fn(f64, f64, f64, f64, f64, f64, f64) -> f64;

extern "C" fn score(q: f64, latency: f64, errors: f64, weight: f64, bytes: f64, age: f64, zone: f64) -> f64 {
    (1.0 + q) * (latency + 1e-3) * (1.0 + 10.0 * errors) / weight * (1.0 + bytes * 1e-9 + 1e-9 * age + zone)
}

fn scene(scene: &str, policy: &str, size: usize, settings: &Value) -> Arc<Pool> {
    let weights: Vec<u32> =
        (0..size as u32).map(|index| if index == 5 { 0 } else { index % 3 + 1 }).collect();
    pool(policy, &weights, |pool| {
        if let Some(load) = settings.get("load") {
            pool["load"] = load.clone();
            if load == "reported" {
                pool["reported"] = json!({"as": "load"});
            }
        }
        if let Some(score) = settings.get("policy") {
            pool["policy"]["score"] = score["score"].clone();
        }
        match scene {
            "busy" => {
                pool["threshold"] = json!({"requests": 3, "latency_ms": 60, "bytes_per_second": 200_000});
            }
            "levels" => {
                for index in 0..size {
                    pool["endpoints"][index]["priority"] = json!(index / 4);
                }
                pool["panic_threshold"] = json!(30);
            }
            "starting" => {
                pool["slow_start"] = json!({"window_ms": 20_000, "aggression": 1.0, "min_weight": 0.1});
            }
            // The one policy that pays no heed to weights.
            "learned" if pool["reported"].is_null() && policy != "random" => {
                pool["reported"] = json!({"as": "weight", "blackout_ms": 0});
            }
            _ => {}
        }
    })
}

/// A request that has a slot.
struct Held {
    index: usize,
    since: Nanos,
    ends: Nanos,
    fails: bool,
}

/// Drives the pool and gives its choices as one number.
fn choices(pool: &Arc<Pool>) -> u64 {
    let (mut world, mut rng) = (Generator::seed_from_u64(11), Generator::seed_from_u64(7));
    let mut held: VecDeque<Held> = VecDeque::new();
    let mut now = millis(1);
    let (mut hash, mut ticked) = (0xcbf2_9ce4_8422_2325u64, now);
    for request in 0..REQUESTS {
        // Most follow at once, some after a while in which much fades.
        let gap = if request % 1_000 == 999 { 12_000_000 } else { below(&mut world, 2_000) };
        now = now.plus(Nanos(gap as u64 * 1_000));
        while let Some(place) = held.iter().position(|held| held.ends <= now) {
            let Some(Held { index, since, ends, fails }) = held.remove(place) else { break };
            let endpoint = &pool.members()[index].endpoint;
            let outcome = if fails { Outcome::Failure("broke") } else { Outcome::Success };
            endpoint.count_bytes(1_000 * (index + 1), ends);
            let value =
                format!("TEXT rps_fractional={}, cpu_utilization=0.{}", 100 + 50 * index, 1 + index % 9);
            pool.hear(endpoint, [value.as_bytes()].into_iter(), ends);
            pool.learn(endpoint, outcome, Some(ends.since(since)), ends);
            pool.release(endpoint, ends);
        }
        if now.since(ticked) >= Nanos::from_millis(50) {
            ticked = now;
            pool.tick(now);
        }
        if request % 4_000 == 2_000 {
            // One is lost, and comes back.
            let endpoint = &pool.members()[(request / 4_000) as usize].endpoint;
            (0..3).for_each(|_| pool.learn(endpoint, Outcome::Failure("gone"), None, now));
        }
        let mut seeker = Seeker::of(Some(world.next_u64()));
        if request % 7 == 0 {
            let other = below(&mut world, pool.members().len());
            seeker.exclude(&pool.members()[other].endpoint);
        }
        let pick = pool.admit(now, &mut rng, &seeker);
        let chosen = match pick {
            Pick::Taken(index) => index as u64,
            Pick::Full => 1_000,
            Pick::Nobody => 1_001,
        };
        hash = (hash ^ chosen).wrapping_mul(0x0000_0100_0000_01b3);
        let (lasts, fate) = (1 + below(&mut world, 30_000) as u64, below(&mut world, 100));
        if let Pick::Taken(index) = pick {
            let fails = index % 7 == 3 && fate < 30;
            let ends = now.plus(Nanos((lasts + index as u64 * 500) * 1_000));
            held.push_back(Held { index, since: now, ends, fails });
        }
        if pool.calls_for_probes() {
            for member in pool.probes_wanted() {
                let id = u64::from(member.endpoint.id());
                let report =
                    Report { in_flight: member.endpoint.in_flight(), latency_s: (id % 5) as f32 * 1e-2 };
                pool.take_report(&member.endpoint, (id != 2).then_some(report), now);
            }
        }
    }
    hash
}

#[test]
fn one_seed_gives_the_choices_that_it_has_always_given() {
    let found: Vec<(&str, Vec<u64>)> = settings()
        .iter()
        .map(|(label, policy, settings)| {
            let of = |&(name, size): &(&str, usize)| choices(&scene(name, policy, size, settings));
            (*label, SCENES.iter().map(of).collect())
        })
        .collect();
    let known: Vec<(&str, Vec<u64>)> = CHOICES.iter().map(|(label, all)| (*label, all.to_vec())).collect();
    assert!(found == known, "{found:#x?}");
}
