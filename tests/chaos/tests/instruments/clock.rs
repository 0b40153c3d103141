//! The wall clock is stepped, in running servers and before they start; time spans are not.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use chaos::instruments::Shim;
use doorbuster::servers::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions};

use crate::support::{address, postgres_options, redis_options, sql_client, tempdir};

const HOUR_MS: i64 = 3_600_000;
/// How far from the true time a clock that is right may seem to be.
const SLACK_MS: i64 = 60_000;

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

async fn redis_offset_ms(redis: &PrivateRedis) -> i64 {
    let reply = chaos::instruments::redis_command(address(redis), &["TIME"]).await.unwrap();
    let parts: Vec<i64> = reply.convert().unwrap();
    parts[0] * 1000 + parts[1] / 1000 - now_ms()
}

#[tokio::test]
async fn redis_sees_the_step_while_it_runs_and_when_it_starts() {
    let dir = tempdir();
    let shim = Shim::install(&dir.path().join("shim"), &dir.path().join("nothing")).unwrap();
    let options = RedisOptions { env: shim.env(), ..redis_options(dir.path()) };
    let mut redis = PrivateRedis::start(options).await.unwrap();
    assert!(redis_offset_ms(&redis).await.abs() < SLACK_MS);
    for step in [HOUR_MS, -HOUR_MS] {
        shim.set_clock_offset_ms(step).unwrap();
        assert!((redis_offset_ms(&redis).await - step).abs() < SLACK_MS, "running");
        redis.restart().await.unwrap();
        assert!((redis_offset_ms(&redis).await - step).abs() < SLACK_MS, "started anew");
    }
    assert!(shim.counts().unwrap().stepped_reads > 0);
    shim.set_clock_offset_ms(0).unwrap();
    assert!(redis_offset_ms(&redis).await.abs() < SLACK_MS);
}

#[tokio::test]
async fn postgres_sees_the_step() {
    let dir = tempdir();
    let shim = Shim::install(&dir.path().join("shim"), &dir.path().join("nothing")).unwrap();
    let options = PostgresOptions { env: shim.env(), ..postgres_options(dir.path()) };
    let postgres = PrivatePostgres::start(options).await.unwrap();
    let client = sql_client(&postgres.url("postgres")).await.unwrap();
    for step in [0, HOUR_MS, -HOUR_MS] {
        shim.set_clock_offset_ms(step).unwrap();
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        let offset_ms = client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) - now_ms();
        assert!((offset_ms - step).abs() < SLACK_MS, "{offset_ms}");
    }
}

/// Prints the wall clock by each of the calls that tell it, and the monotonic clock, in seconds.
const CLOCKS: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
int main(void) {
    struct timespec wall, coarse, monotonic;
    struct timeval day;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_REALTIME_COARSE, &coarse);
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    gettimeofday(&day, NULL);
    printf("%ld %ld %ld %ld %ld\n", (long)monotonic.tv_sec, (long)wall.tv_sec, (long)coarse.tv_sec,
           (long)day.tv_sec, (long)time(NULL));
}
"#;

#[test]
fn every_call_tells_the_stepped_time_and_spans_of_time_stay_true() {
    let dir = tempdir();
    let shim = Shim::install(&dir.path().join("shim"), &dir.path().join("nothing")).unwrap();
    let (source, program) = (dir.path().join("clocks.c"), dir.path().join("clocks"));
    std::fs::write(&source, CLOCKS).unwrap();
    assert!(Command::new("cc").arg("-o").args([&program, &source]).status().unwrap().success());
    let seconds = |env: Vec<_>| -> Vec<i64> {
        let output = Command::new(&program).envs(env).output().unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect()
    };
    let truth = seconds(Vec::new());
    for step in [HOUR_MS, -HOUR_MS, 1500, -1500] {
        shim.set_clock_offset_ms(step).unwrap();
        let told = seconds(shim.env());
        let off = |index: usize| told[index] - truth[index] - if index == 0 { 0 } else { step / 1000 };
        assert!((0..5).all(|index| off(index).abs() <= SLACK_MS / 1000), "{step}: {told:?}, true {truth:?}");
    }
    assert_eq!(shim.counts().unwrap().stepped_reads, 16);
}
