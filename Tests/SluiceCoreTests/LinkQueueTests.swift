import SluiceCore
import SluiceTestKit
import Testing

@Suite("A queue of links")
struct LinkQueueTests {
    @Test("keeps the order of an array through whatever comes and leaves")
    func random() {
        var random = SeededGenerator.replayable("LinkQueueTests")
        for _ in 0..<50 {
            var queue = LinkQueue()
            var model: [UInt32] = []
            let links = UInt32.random(in: 1...60, using: &random)
            for _ in 0..<500 {
                let index = UInt32.random(in: 0..<links, using: &random)
                switch Int.random(in: 0..<5, using: &random) {
                case 0...1:
                    queue.append(index)
                    if !model.contains(index) { model.append(index) }
                case 2...3:
                    queue.remove(index)
                    model.removeAll { $0 == index }
                default:
                    #expect(queue.popFirst() == (model.isEmpty ? nil : model.removeFirst()))
                }
                #expect(Array(queue) == model)
                #expect(queue.count == model.count && queue.isEmpty == model.isEmpty)
                #expect(queue.contains(index) == model.contains(index))
            }
        }
    }

    @Test("a link that comes and leaves again and again leaves no gaps behind")
    func flipping() {
        var queue = LinkQueue()
        queue.append(7)
        for _ in 0..<100_000 {
            queue.append(3)
            queue.remove(3)
        }
        queue.append(3)
        #expect(Array(queue) == [7, 3])
        #expect(queue.entryCount < 40)
    }
}
