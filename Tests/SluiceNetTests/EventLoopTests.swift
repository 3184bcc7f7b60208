import Dispatch
import Glibc
import SluiceNet
import Testing

@Suite("Event loop", .timeLimit(.minutes(1)))
struct EventLoopTests {
    @Test("jobs from many threads run exactly once each, in the order of their thread")
    func submitFromManyThreads() async throws {
        let threads = 8
        let jobsEach = 2_000
        try await withLoop { loop in
            let seen = Confined([[Int]](repeating: [], count: threads))
            DispatchQueue.concurrentPerform(iterations: threads) { @Sendable thread in
                for job in 0..<jobsEach { loop.submit { seen.value[thread].append(job) } }
            }
            let all = try await loop.run { seen.value }
            #expect(all == [[Int]](repeating: Array(0..<jobsEach), count: threads))
        }
    }

    @Test("jobs submitted before stop run, later ones are refused")
    func stopRunsWhatWasSubmitted() async throws {
        let loop = try EventLoop(label: "test.stop")
        let ran = Lock(0)
        for _ in 0..<10 { loop.submit { ran.withLock { $0 += 1 } } }
        loop.stop()
        loop.start()
        await loop.waitUntilStopped()
        #expect(ran.withLock { $0 } == 10)
        #expect(!loop.submit { ran.withLock { $0 += 1 } })
        #expect(ran.withLock { $0 } == 10)
    }

    @Test("a stopped loop lets go of handlers, timers and jobs that come back into it")
    func stopReleases() async throws {
        final class Owner: IOHandler {
            let loop: EventLoop
            let released: Lock<Int>
            var registration: Registration?
            var timer: TimerID?

            init(_ loop: EventLoop, _ released: Lock<Int>) {
                self.loop = loop
                self.released = released
            }

            deinit {
                if let registration { loop.deregister(registration) }
                if let timer { loop.cancel(timer) }
                released.withLock { $0 += 1 }
            }

            func ready(_ events: IOEvents) {}
        }
        let (near, far) = try socketPair()
        let released = Lock(0)
        try await withLoop { loop in
            try await loop.run {
                let owner = Owner(loop, released)
                owner.registration = try loop.register(near, .readable, handler: owner)
                owner.timer = loop.schedule(after: .seconds(3600)) { _ = owner }
                // The one reference to this one is its own timer.
                let timed = Owner(loop, released)
                timed.timer = loop.schedule(after: .seconds(3600)) { _ = timed }
                if let timer = timed.timer { loop.cancel(timer) }
            }
        }
        #expect(released.withLock { $0 } == 2)
        near.close()
        far.close()
    }

    @Test("the end of a turn runs again without sleeping while work waits")
    func endOfTurn() async throws {
        try await withLoop { loop in
            let done = Sink<Int>()
            try await loop.run {
                let turns = Confined(0)
                loop.onEndOfTurn {
                    turns.value += 1
                    // Nothing else wakes this loop: without the poll the 100th turn never comes.
                    if turns.value == 100 { done.put(turns.value) }
                    return turns.value < 100
                }
            }
            #expect(await done.take() == [100])
        }
    }

    @Test("an event of the same turn never reaches a deregistered handler or its slot's next user")
    func staleEvents() async throws {
        let (near, nearPeer) = try socketPair()
        let (other, otherPeer) = try socketPair()
        let (quiet, quietPeer) = try socketPair()
        try await withLoop { loop in
            let calls = Confined<[String]>([])
            let ids = Confined<[String: Registration]>([:])
            let replace: @Sendable (String, String) -> Void = { name, victim in
                calls.value.append(name)
                for name in [name, victim] {
                    if let id = ids.value[name] { loop.deregister(id) }
                }
                do {
                    for name in ["quiet 1", "quiet 2"] where ids.value[name] == nil {
                        let descriptor = name == "quiet 1" ? quiet : quietPeer
                        let watch = Watch { _ in calls.value.append(name) }
                        ids.value[name] = try loop.register(descriptor, .readable, handler: watch)
                    }
                } catch {
                    Issue.record(error)
                }
            }
            #expect(try nearPeer.send("x") == .bytes(1))
            #expect(try otherPeer.send("x") == .bytes(1))
            try await loop.run {
                let first = Watch { _ in replace("near", "other") }
                let second = Watch { _ in replace("other", "near") }
                ids.value["near"] = try loop.register(near, .readable, handler: first)
                ids.value["other"] = try loop.register(other, .readable, handler: second)
            }
            try await loop.turns(3)
            let seen = try await loop.run { calls.value }
            #expect(seen.count == 1)
            #expect(["near", "other"].contains(seen.first))
        }
        for descriptor in [near, nearPeer, other, otherPeer, quiet, quietPeer] {
            descriptor.close()
        }
    }

    @Test("a descriptor without interest is silent until interest comes back")
    func interest() async throws {
        let (near, far) = try socketPair()
        try await withLoop { loop in
            let events = Sink<IOEvents>()
            let id = try await loop.run {
                let registration = Confined<Registration?>(nil)
                let watch = Watch { seen in
                    events.put(seen)
                    if let id = registration.value { loop.update(id, []) }
                }
                let id = try loop.register(near, .writable, handler: watch)
                registration.value = id
                return id
            }
            #expect(await events.take() == [.writable])
            #expect(try far.send("x") == .bytes(1))
            try await loop.turns(2)
            try await loop.run { loop.update(id, [.readable, .writable]) }
            #expect(await events.take() == [[.readable, .writable]])
            try await loop.run { loop.deregister(id) }
        }
        near.close()
        far.close()
    }

    @Test("a registration of the same descriptor twice is refused")
    func registeredTwice() async throws {
        let (near, far) = try socketPair()
        try await withLoop { loop in
            let refusal = try await loop.run {
                let id = try loop.register(near, .readable, handler: Watch { _ in })
                defer { loop.deregister(id) }
                do throws(SystemError) {
                    _ = try loop.register(near, .readable, handler: Watch { _ in })
                    return nil as SystemError?
                } catch {
                    return error
                }
            }
            #expect(refusal == SystemError(code: EEXIST, call: "epoll_ctl"))
        }
        near.close()
        far.close()
    }
}

@Suite("Timers", .timeLimit(.minutes(1)))
struct TimerTests {
    @Test("timers run in the order of their deadlines, equal ones as they were scheduled")
    func order() async throws {
        try await withLoop { loop in
            let ran = Sink<String>()
            try await loop.run {
                let now = loop.now
                loop.schedule(at: now + 3_000_000) { ran.put("late") }
                loop.schedule(at: now + 1_000_000) { ran.put("early 1") }
                loop.schedule(at: now + 1_000_000) { ran.put("early 2") }
                loop.schedule(at: 0) { ran.put("past") }
                loop.schedule(after: .milliseconds(2)) { ran.put("middle") }
            }
            #expect(await ran.take(5) == ["past", "early 1", "early 2", "middle", "late"])
        }
    }

    @Test("no timer runs before its deadline")
    func neverEarly() async throws {
        try await withLoop { loop in
            let early = Sink<Int>()
            try await loop.run {
                for delay in stride(from: 0, to: 5_000_000, by: 97_777) {
                    let deadline = loop.now + UInt64(delay)
                    loop.schedule(at: deadline) { early.put(loop.now < deadline ? 1 : 0) }
                }
            }
            #expect(await early.take(52).reduce(0, +) == 0)
        }
    }

    @Test("a cancelled timer never runs, however many were cancelled")
    func cancel() async throws {
        try await withLoop { loop in
            let ran = Sink<Int>()
            try await loop.run {
                let deadline = loop.now + 1_000_000
                let ids = (0..<1_000).map { number in
                    loop.schedule(at: deadline) { ran.put(number) }
                }
                for (number, id) in ids.enumerated() where number % 100 != 0 { loop.cancel(id) }
                loop.schedule(at: deadline) { ran.put(-1) }
            }
            #expect(await ran.take(11) == [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, -1])
        }
    }

    @Test("a timer may cancel another that is due in the same turn, and itself")
    func cancelInside() async throws {
        try await withLoop { loop in
            let ran = Sink<String>()
            try await loop.run {
                let victim = Confined<TimerID?>(nil)
                let deadline = loop.now
                let first = Confined<TimerID?>(nil)
                first.value = loop.schedule(at: deadline) {
                    ran.put("first")
                    if let id = victim.value { loop.cancel(id) }
                    if let id = first.value { loop.cancel(id) }
                }
                victim.value = loop.schedule(at: deadline) { ran.put("victim") }
                loop.schedule(at: deadline) { ran.put("last") }
            }
            #expect(await ran.take(2) == ["first", "last"])
        }
    }

    @Test("a timer that schedules itself for at once leaves the sockets their turn")
    func immediateTimers() async throws {
        try await withLoop { loop in
            let runs = Confined(0)
            @Sendable func again() {
                runs.value += 1
                loop.schedule(after: .zero) { again() }
            }
            try await loop.run { again() }
            try await loop.turns(10)
            #expect(try await loop.run { runs.value } > 1)
        }
    }
}
