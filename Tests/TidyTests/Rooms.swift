/// What each room may import: the floors of the house as a table.
///
/// The manifest holds the rooms apart; this table also holds the system's modules out of the
/// rooms that must stay pure. A new directory needs a line here.
enum Rooms {
    static let allowed: [String: Set<String>] = [
        "Sources/SluiceCore": ["DequeModule", "HeapModule", "Synchronization"],
        "Sources/SluiceNet": [
            "CCrash", "CEpoll", "Dispatch", "Glibc", "HeapModule", "Synchronization",
        ],
        "Sources/SluiceWire": ["DequeModule", "SluiceCore"],
        "Sources/SluiceEngine": [
            "DequeModule", "FoundationEssentials", "Glibc", "HeapModule", "Logging", "SluiceCore",
            "SluiceWire", "Synchronization",
        ],
        "Sources/SluiceServer": [
            "DequeModule", "Glibc", "Logging", "SluiceCore", "SluiceEngine", "SluiceNet",
            "SluiceWire", "Synchronization",
        ],
        "Sources/SluiceGateway": [
            "CNghttp2", "DequeModule", "FoundationEssentials", "Logging", "NIOCore",
            "NIOEmbedded", "NIOHTTP1", "NIOWebSocket", "SluiceCore", "SluiceEngine",
            "SluiceGrpcMessages", "SluiceNet", "SluiceWire", "SwiftProtobuf",
        ],
        "Sources/SluiceGrpcMessages": ["Foundation", "FoundationEssentials", "SwiftProtobuf"],
        "Sources/Sluice": [
            "DequeModule", "Dispatch", "Glibc", "Logging", "ServiceLifecycle", "SluiceCore",
            "SluiceNet", "SluiceWire", "Synchronization", "Tracing",
        ],
        "Sources/SluiceEmbedded": [
            "Logging", "Sluice", "SluiceCore", "SluiceEngine", "SluiceNet", "SluiceServer",
        ],
        "Sources/SluiceDoor": [
            "ArgumentParser", "Configuration", "Dispatch", "FoundationEssentials", "Glibc",
            "Histogram", "Logging", "Sluice", "SluiceCore", "SluiceEngine", "SluiceGateway",
            "SluiceNet", "SluiceServer", "SluiceWire", "Synchronization",
        ],
        "Tests/SluiceTestKit": [
            "DequeModule", "FoundationEssentials", "Glibc", "SluiceCore", "SluiceWire",
        ],
        "Tests/Simulate": ["Glibc", "SluiceTestKit"],
        "Tests/Trace": ["FoundationEssentials", "Glibc", "SluiceTestKit"],
        "Benchmarks/Budget": [
            "Glibc", "Logging", "SluiceCore", "SluiceEngine", "SluiceServer", "SluiceWire",
        ],
        "Tests/SluiceCoreTests": tests(of: "SluiceCore"),
        "Tests/SluiceWireTests": tests(of: "SluiceCore", "SluiceWire"),
        "Tests/SluiceNetTests": tests(of: "SluiceNet"),
        "Tests/SluiceEngineTests": tests(
            of: "Logging",
            "SluiceCore",
            "SluiceEngine",
            "SluiceWire"
        ),
        "Tests/SluiceServerTests": tests(
            of: "Logging",
            "SluiceCore",
            "SluiceEngine",
            "SluiceNet",
            "SluiceServer",
            "SluiceWire"
        ),
        "Tests/SluiceGatewayTests": tests(
            of: "SluiceCore",
            "SluiceGateway",
            "SluiceGrpcMessages",
            "SluiceWire",
            "SwiftProtobuf"
        ),
        "Tests/SluiceTests": tests(
            of: "InMemoryTracing",
            "Logging",
            "ServiceLifecycle",
            "Sluice",
            "SluiceCore",
            "SluiceEmbedded",
            "SluiceEngine",
            "SluiceNet",
            "SluiceServer",
            "SluiceWire",
            "Tracing"
        ),
        "Tests/SystemTests": tests(
            of: "Foundation",
            "Logging",
            "Sluice",
            "SluiceCore",
            "SluiceDoor",
            "SluiceEmbedded",
            "SluiceEngine",
            "SluiceServer",
            "SluiceWire"
        ),
        "Tests/TidyTests": tests(of: "SluiceCore"),
    ]

    /// The room that a file belongs to: the first two parts of its path.
    static func room(of path: String) -> String? {
        let parts = path.split(separator: "/")
        guard parts.count > 2, ["Sources", "Tests", "Benchmarks"].contains(parts[0]) else {
            return nil
        }
        return "\(parts[0])/\(parts[1])"
    }

    private static func tests(of rooms: String...) -> Set<String> {
        Set(rooms).union([
            "Dispatch", "FoundationEssentials", "Glibc", "SluiceTestKit", "Synchronization",
            "Testing",
        ])
    }
}
