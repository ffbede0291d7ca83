//! Many clients at once: the limits hold, and nobody starves.

use super::*;

#[tokio::test(start_paused = true)]
async fn addresses_that_swallow_packets_leave_logins_to_the_living() {
    LocalSet::new()
        .run_until(async {
            let gate = Gate::new(GuardLimits::default());
            let dead: Vec<String> = (0..40).map(|n| format!("dead{n}:1")).collect();
            let timeout = || Facts::new(Phase::Connect, Cause::Timeout);
            let mut tasks = JoinSet::new();
            for key in dead {
                let gate = gate.clone();
                tasks.spawn_local(async move {
                    loop {
                        let dialled =
                            gate.pass(&key, Lane::Reconnect, |_| dial(10 * SECOND, Err::<(), _>(timeout())));
                        let failure = dialled.await.unwrap_err();
                        tokio::time::sleep_until(failure.failed_at + SECOND).await;
                    }
                });
            }
            // By then each address has failed once, so that it is unreachable and has one leader.
            sleep(60 * SECOND).await;
            for n in 0..20 {
                let key = format!("live{n}:1");
                let passed = gate.pass(&key, Lane::Refresh, |_| dial(20 * MS, Ok(()))).await.unwrap();
                assert!(passed.waited < SECOND, "a refresh waited {:?}", passed.waited);
                sleep(SECOND).await;
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_limits_hold_in_every_second_and_all_of_a_thousand_clients_pass() {
    LocalSet::new()
        .run_until(async {
            let gate = Gate::new(GuardLimits::default());
            let dials: Rc<RefCell<Vec<(Instant, usize)>>> = Rc::default();
            let in_flight: Rc<RefCell<HashMap<usize, usize>>> = Rc::default();
            let mut tasks = JoinSet::new();
            for n in 0..1000 {
                let (gate, dials, in_flight) = (gate.clone(), dials.clone(), in_flight.clone());
                let host = n % 30;
                tasks.spawn_local(async move {
                    let lane = [Lane::Reconnect, Lane::Refresh][n % 2];
                    let key = format!("host{host}:5432");
                    let dialled = gate.pass(&key, lane, |DialAdmission { at, .. }| {
                        dials.borrow_mut().push((at, host));
                        let mut in_flight = in_flight.borrow_mut();
                        *in_flight.entry(host).or_default() += 1;
                        assert!(in_flight[&host] <= 4);
                        assert!(in_flight.values().sum::<usize>() <= 16);
                        dial((1 + n as u32 % 7) * 20 * MS, Ok(()))
                    });
                    let passed = dialled.await.unwrap();
                    sleep((n as u32 % 5) * 50 * MS).await;
                    *in_flight.borrow_mut().entry(host).or_default() -= 1;
                    drop(passed.permit);
                });
            }
            let begun = Instant::now();
            tasks.join_all().await;
            let dials = dials.borrow();
            let all: Vec<_> = dials.iter().map(|(at, _)| *at).collect();
            assert_eq!(all.len(), 1000);
            assert!(most_in_a_second(&all) <= 50);
            for host in 0..30 {
                let at: Vec<_> = dials.iter().filter(|d| d.1 == host).map(|d| d.0).collect();
                assert!(most_in_a_second(&at) <= 10);
            }
            assert!(begun.elapsed() < 25 * SECOND, "it took {:?}", begun.elapsed());
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn each_tcp_connect_of_an_attempt_counts_however_many_addresses_its_name_has() {
    LocalSet::new()
        .run_until(async {
            let gate = Gate::new(GuardLimits::default());
            let connects: Rc<RefCell<Vec<(Instant, usize)>>> = Rc::default();
            let mut tasks = JoinSet::new();
            for n in 0..60 {
                let (gate, connects) = (gate.clone(), connects.clone());
                let (host, lane) = (n % 20, [Lane::Reconnect, Lane::Refresh][n % 2]);
                tasks.spawn_local(async move {
                    let key = format!("many{host}:5432");
                    let dialled = gate.pass(&key, lane, |DialAdmission { at, pace }| async move {
                        connects.borrow_mut().push((at, host));
                        for _ in 1..16 {
                            dial(MS, Ok(())).await?;
                            pace.next().await;
                            connects.borrow_mut().push((Instant::now(), host));
                        }
                        Ok(())
                    });
                    drop(dialled.await.unwrap());
                });
            }
            tasks.join_all().await;
            let connects = connects.borrow();
            assert_eq!(connects.len(), 60 * 16);
            let all: Vec<_> = connects.iter().map(|(at, _)| *at).collect();
            assert!(most_in_a_second(&all) <= 50, "{}", most_in_a_second(&all));
            for host in 0..20 {
                let at: Vec<_> = connects.iter().filter(|d| d.1 == host).map(|d| d.0).collect();
                assert!(most_in_a_second(&at) <= 10, "{}", most_in_a_second(&at));
            }
            assert_eq!(gate.logins_in_flight(), 0);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn five_hundred_clients_of_an_unreachable_address_share_one_tcp_connect_a_second() {
    LocalSet::new()
        .run_until(async {
            let gate = Gate::new(GuardLimits::default());
            let connects: Rc<RefCell<Vec<Instant>>> = Rc::default();
            let mut dice = fastrand::Rng::with_seed(7);
            let mut tasks = JoinSet::new();
            for _ in 0..500 {
                let (gate, connects, mut dice) = (gate.clone(), connects.clone(), dice.fork());
                tasks.spawn_local(async move {
                    loop {
                        let dialled = gate.pass("dead:1", Lane::Reconnect, |DialAdmission { at, .. }| {
                            connects.borrow_mut().push(at);
                            dial(MS, Err::<(), _>(refused()))
                        });
                        let failure = dialled.await.unwrap_err();
                        tokio::time::sleep_until(failure.failed_at + next_tcp_connect(dice.f64())).await;
                    }
                });
            }
            sleep(120 * SECOND).await;
            let connects = connects.borrow();
            // The first ones went out together, before anybody knew.
            let first = connects.iter().filter(|at| **at == connects[0]).count();
            assert!(first <= 4, "a quarter of the logins in flight, not {first}");
            let gaps = connects[first - 1..].windows(2).map(|pair| pair[1] - pair[0]);
            for gap in gaps {
                assert!((800 * MS..=1010 * MS).contains(&gap), "{gap:?} between two TCP connects");
            }
            assert!((118..=150).contains(&(connects.len() - first)), "{} TCP connects", connects.len());
        })
        .await;
}
