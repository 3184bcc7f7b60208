import SluiceCore
import SluiceGateway
import Testing

@Suite("What a client of gRPC says that waits")
struct ClientBacklogTests {
    private static let numbers: [UInt64] = [
        0, 1, 2, 1_048_576, 1 << 31, 1 << 32, 1 << 63, .max - 2, .max - 1, .max,
    ]

    @Test("is added to what waits here without credit, whatever the numbers are")
    func sums() {
        for available in Self.numbers {
            for unseen in Self.numbers {
                for lacking in Self.numbers {
                    var backlog = ClientBacklog()
                    backlog.hear(available, unseen: unseen)
                    let told = backlog.onWire(lacking: lacking)
                    #expect(told >= lacking || told == UInt64.max - 1)
                    backlog.promise(unseen)
                    #expect(backlog.available ?? 0 <= available - min(available, unseen))
                }
            }
        }
    }

    @Test("what it has not heard of yet is taken off, and the greatest number says nothing")
    func meaning() {
        var backlog = ClientBacklog()
        #expect(backlog.onWire(lacking: 0) == Backlog.unknownOnWire)
        #expect(backlog.onWire(lacking: 3) == 3)
        backlog.hear(10, unseen: 4)
        #expect(backlog.onWire(lacking: 3) == 9)
        backlog.promise(5)
        #expect(backlog.available == 1)
        backlog.promise(1)
        #expect(backlog.available == nil)
        backlog.hear(0, unseen: 0)
        #expect(backlog.onWire(lacking: 0) == 0)
        backlog.hear(.max, unseen: 0)
        #expect(backlog.available == nil)
        backlog.hear(.max - 1, unseen: 0)
        #expect(backlog.onWire(lacking: 100) == UInt64.max - 1)
    }
}
