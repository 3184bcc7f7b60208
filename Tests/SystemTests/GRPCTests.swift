import Foundation
import Glibc
import Testing

extension SystemTests {
    /// The real binary, asked by grpcio.
    @Suite("gRPC", .enabled(if: Place.peer("python") != nil, "make peers installs it"))
    struct GRPCTests {
        @Test(
            "every call does what Protocol/grpc.md says",
            .timeLimit(.minutes(2)),
            arguments: Broker.shardCounts
        )
        func everyCall(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            let script = Place.root.appending(path: "Tests/Http/grpc_calls.py").path
            let number = "\(broker.running.process.processIdentifier)"
            let python = try #require(Place.peer("python"))
            let outcome = try Running(python, [script, try #require(broker.http), number])
                .wait(atMost: 100)
            let misses = outcome.lines.filter { !$0.hasPrefix("ok ") }.joined(separator: "\n")
            #expect(outcome.code == 0, "\(misses)\n\(outcome.errors)")
        }

        @Test("the examples in Python publish and subscribe", .timeLimit(.minutes(1)))
        func examples() throws {
            let broker = try Broker.withHTTP(shards: 1)
            let place = try Place.directory()
            defer { try? FileManager.default.removeItem(at: place) }
            let examples = Place.root.appending(path: "Examples/grpc-python").path
            let protocols = Place.root.appending(path: "Protocol").path
            let python = try #require(Place.peer("python"))
            let server = try #require(broker.http)
            let line = """
                set -eu; cp \(examples)/*.py \(place.path); cd \(place.path)
                \(python) -m grpc_tools.protoc -I \(protocols) --python_out=. \
                    --grpc_python_out=. sluice.proto
                \(python) subscribe.py \(server) t 2 >got & reader=$!
                printf 'hello\\nworld\\nlast\\n' | \(python) publish.py \(server) t
                wait $reader; cat got
                """
            let outcome = try broker.startShell(line).wait()
            #expect(outcome.code == 0, "\(outcome.errors)")
            #expect(outcome.lines == ["3 events taken", "0 hello", "1 world"])
        }
    }
}
