import Glibc
import Sluice
import SluiceCore
import SluiceNet
import SluiceTestKit
import SluiceWire
import Testing

@Suite("Output of a connection")
struct OutletTests {
    @Test("a socket that takes little at a time gets every byte in order")
    func pieces() throws {
        var random = SeededGenerator.replayable("pieces of output")
        var ends: [CInt] = [0, 0]
        try #require(socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { for end in ends { close(end) } }
        let socket = Descriptor(ends[0])
        try socket.setSendBuffer(bytes: 4_608)
        var outlet = Outlet()
        var written: [UInt8] = []
        var received: [UInt8] = []
        for _ in 0..<100 {
            written += fill(&outlet, &random)
            let wanted = Int.random(in: 1...40_000, using: &random)
            while try outlet.backlog > 0 && outlet.send(to: .socket(socket)) {}
            received += read(ends[1], upTo: wanted)
        }
        while outlet.backlog > 0 {
            _ = try outlet.send(to: .socket(socket))
            received += read(ends[1], upTo: 1_000_000)
        }
        #expect(received.count == written.count)
        #expect(received == written)
    }

    /// Adds frames and records, from slabs and copied; returns their bytes.
    private func fill(_ outlet: inout Outlet, _ random: inout SeededGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            var frame = FrameWriter()
            frame.append(Ping(opaque: random.next()))
            outlet.output.frames.append(records: frame.bytes.span.bytes)
            bytes += frame.bytes
            let records = (0..<Int.random(in: 1...9_000, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            let slab = Slab(capacity: records.count + 7)
            _ = slab.append([UInt8](repeating: 0, count: 7).span.bytes)
            let range = slab.append(records.span.bytes)
            outlet.output.append(records: Run(slab: slab, bytes: range, count: 1))
            bytes += records
        }
        return bytes
    }

    private func read(_ socket: CInt, upTo count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let read = recv(socket, &bytes, count, CInt(MSG_DONTWAIT))
        return Array(bytes.prefix(max(0, read)))
    }
}
