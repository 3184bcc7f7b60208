import Foundation
import Glibc
import Testing

extension SystemTests {
    @Suite("What signals do to the broker")
    struct SignalTests {
        @Test("SIGHUP does not end it", .timeLimit(.minutes(1)))
        func hangUp() throws {
            let broker = try Broker()
            broker.running.signal(SIGHUP)
            try eventually("it says so") {
                broker.running.errors.contains("there is nothing to reload yet")
            }
            try broker.run("pub", "t", "x")
            #expect(try broker.run("sub", "t", "-n", "1").text == "x\n")
            broker.running.signal(SIGTERM)
            #expect(broker.running.wait().code == 0)
        }

        @Test(
            "a fault ends it with a report and the signal's status",
            .timeLimit(.minutes(1)),
            arguments: [SIGILL, SIGSEGV]
        )
        func fault(signal: Int32) throws {
            // Swift's own report, where it is wanted, takes the place of ours.
            let broker = try Broker(shards: 3, environment: ["SWIFT_BACKTRACE": "enable=no"])
            try broker.run("pub", "t", "x")
            broker.running.signal(signal)
            let left = broker.running.wait()
            #expect(broker.running.process.terminationReason == .uncaughtSignal)
            #expect(left.code == 128 + signal)
            let name = signal == SIGILL ? "SIGILL" : "SIGSEGV"
            #expect(left.errors.contains(" ends by \(name) at 0x"), "\(left.errors)")
            let lines = left.errors.split(separator: "\n")
            let commands = lines.filter { $0.hasPrefix("last commands: shard 0 ") }
            #expect(commands.count == 1 && commands.allSatisfy { $0.contains(", shard 2 ") })
            #expect(commands.contains { $0.contains(" close and a step") }, "\(left.errors)")
            #expect(lines.contains { $0.contains("sluice(") }, "a backtrace: \(left.errors)")
        }
    }
}
