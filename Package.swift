// swift-tools-version: 6.2
import PackageDescription

let rules: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]
// Core and Wire touch bytes that strangers sent: every `unsafe` there is written and seen.
let safe = rules + [.strictMemorySafety()]

let package = Package(
    name: "sluice",
    products: [
        .library(name: "Sluice", targets: ["Sluice"]),
        .library(name: "SluiceEmbedded", targets: ["SluiceEmbedded"]),
        .executable(name: "sluice", targets: ["SluiceDoor"]),
    ],
    dependencies: [
        // Verbs, flags, help, completions and usage errors of the command line.
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        // The ring buffers (Deque) of the event log, the dispatcher and the loop.
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        // Environment over file over default, under the flags. Without its traits: that for JSON
        // brings all of Foundation with it: half of the whole program.
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
        // The tracing API that libraries and servers share: spans of what is sent and processed.
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
        // The logging API that libraries and servers share.
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        // `Service`, so that a client starts and drains with the program around it.
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        // Only NIOHTTP1 (its parser is llhttp) and NIOWebSocket, as pure codecs without its event
        // loop.
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        // The messages of gRPC, generated once and committed. Without its traits: what they add
        // reads streams and masks, and brings all of Foundation with it.
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
        // Latency percentiles of `sluice bench` with a bounded error.
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        // Floor 1, the ground: the rules of demand, pure; sockets on Dispatch.
        .target(
            name: "SluiceCore",
            dependencies: [
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            swiftSettings: safe
        ),
        .systemLibrary(name: "CEpoll"),
        // The handler of signals that ends a process with a report: Swift may not run there.
        .target(name: "CCrash"),
        .target(
            name: "SluiceNet",
            dependencies: [
                "CCrash", "CEpoll",
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            swiftSettings: rules
        ),
        // Floor 2, the formats: `Protocol/` as pure code.
        .target(
            name: "SluiceWire",
            dependencies: [
                "SluiceCore",
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: safe
        ),
        // Floor 3, the shells: the broker without sockets, and the public client.
        .target(
            name: "SluiceEngine",
            dependencies: [
                "SluiceCore",
                "SluiceWire",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: rules
        ),
        .target(
            name: "Sluice",
            dependencies: [
                "SluiceCore",
                "SluiceNet",
                "SluiceWire",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            swiftSettings: rules
        ),
        // Floor 4, the faces: the binary TCP protocol.
        .target(
            name: "SluiceServer",
            dependencies: [
                "SluiceCore",
                "SluiceEngine",
                "SluiceNet",
                "SluiceWire",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: rules
        ),
        // Its sibling, HTTP/1.1 and HTTP/2. Frames and HPACK are libnghttp2's.
        .systemLibrary(
            name: "CNghttp2",
            pkgConfig: "libnghttp2",
            providers: [.apt(["libnghttp2-dev"])]
        ),
        // What gRPC says, as Protocol/grpc/generate.sh makes it: apart, so that it is built once.
        .target(
            name: "SluiceGrpcMessages",
            dependencies: [.product(name: "SwiftProtobuf", package: "swift-protobuf")],
            swiftSettings: rules
        ),
        .target(
            name: "SluiceGateway",
            dependencies: [
                "CNghttp2",
                "SluiceCore",
                "SluiceEngine",
                "SluiceGrpcMessages",
                "SluiceNet",
                "SluiceWire",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            swiftSettings: rules
        ),
        // Floor 5: a broker and its clients in one process; the one executable, built as `sluice`.
        .target(
            name: "SluiceEmbedded",
            dependencies: [
                "Sluice",
                "SluiceCore",
                "SluiceEngine",
                "SluiceNet",
                "SluiceServer",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: rules
        ),
        .executableTarget(
            name: "SluiceDoor",
            dependencies: [
                "Sluice",
                "SluiceCore",
                "SluiceEngine",
                "SluiceGateway",
                "SluiceNet",
                "SluiceServer",
                "SluiceWire",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: rules
        ),
        // The example that `make demo` runs: two programs that know the client library alone.
        .executableTarget(
            name: "user-activity-producer",
            dependencies: ["Sluice"],
            path: "Examples/UserActivity/Producer",
            swiftSettings: rules
        ),
        .executableTarget(
            name: "user-activity-consumer",
            dependencies: ["Sluice"],
            path: "Examples/UserActivity/Consumer",
            swiftSettings: rules
        ),
        // Stages and a broker in one process; a system test runs it.
        .executableTarget(
            name: "word-count",
            dependencies: ["Sluice", "SluiceEmbedded"],
            path: "Examples/WordCount",
            exclude: ["README.md"],
            swiftSettings: rules
        ),
        // Tests mirror the rooms.
        .target(
            name: "SluiceTestKit",
            dependencies: [
                "SluiceCore",
                "SluiceWire",
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            path: "Tests/SluiceTestKit",
            swiftSettings: rules
        ),
        .executableTarget(
            name: "sluice-simulate",
            dependencies: ["SluiceTestKit"],
            path: "Tests/Simulate",
            swiftSettings: rules
        ),
        .executableTarget(
            name: "sluice-trace",
            dependencies: ["SluiceTestKit"],
            path: "Tests/Trace",
            swiftSettings: rules
        ),
        // The work that `make budget` counts the instructions of.
        .executableTarget(
            name: "sluice-budget",
            dependencies: [
                "SluiceCore", "SluiceEngine", "SluiceServer", "SluiceWire",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Benchmarks/Budget",
            swiftSettings: rules
        ),
        .testTarget(
            name: "SluiceCoreTests",
            dependencies: ["SluiceCore", "SluiceTestKit"],
            swiftSettings: rules
        ),
        .testTarget(
            name: "SluiceWireTests",
            dependencies: ["SluiceCore", "SluiceTestKit", "SluiceWire"],
            swiftSettings: rules
        ),
        .testTarget(name: "SluiceNetTests", dependencies: ["SluiceNet"], swiftSettings: rules),
        .testTarget(
            name: "SluiceEngineTests",
            dependencies: [
                "SluiceCore", "SluiceEngine", "SluiceTestKit", "SluiceWire",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: rules
        ),
        .testTarget(
            name: "SluiceServerTests",
            dependencies: [
                "SluiceCore", "SluiceEngine", "SluiceNet", "SluiceServer", "SluiceTestKit",
                "SluiceWire",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: rules
        ),
        .testTarget(
            name: "SluiceGatewayTests",
            dependencies: [
                "SluiceCore", "SluiceGateway", "SluiceGrpcMessages", "SluiceTestKit", "SluiceWire",
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            swiftSettings: rules
        ),
        .testTarget(
            name: "SluiceTests",
            dependencies: [
                "Sluice", "SluiceCore", "SluiceEmbedded", "SluiceEngine", "SluiceNet",
                "SluiceServer", "SluiceTestKit", "SluiceWire",
                .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: rules
        ),
        .testTarget(
            name: "SystemTests",
            dependencies: [
                "Sluice", "SluiceCore", "SluiceDoor", "SluiceEmbedded", "SluiceEngine",
                "SluiceServer", "SluiceTestKit", "SluiceWire",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: rules
        ),
        .testTarget(name: "TidyTests", dependencies: ["SluiceCore"], swiftSettings: rules),
    ]
)
