import SluiceCore

// What the events of a world carry, and whether it still does when it comes.

extension World {
    /// Remembers what the next events carry that are not too large, under the offsets that they
    /// will get.
    mutating func mark(_ sizes: [Int], upTo largest: UInt32) {
        // What was discarded as it came left its offsets to these.
        let surplus = stamps.count - Int(topic.log.head)
        stamps.removeLast(surplus)
        shapes.removeLast(surplus)
        for index in sizes.indices where sizes[index] <= Int(largest) {
            stamps.append(nextStamp &- UInt32(sizes.count) &+ UInt32(index))
            shapes.append(newShapes[index])
        }
    }

    func shape(at offset: UInt64) -> Shape { shapes[Int(offset)] }

    /// Records of these sizes in runs; each has a number of its own.
    mutating func records(_ sizes: [Int]) -> [Run] {
        var runs: [Run] = []
        newShapes.removeAll(keepingCapacity: true)
        for size in sizes {
            if slab.room < size { slab = Slab(capacity: max(16_384, size)) }
            let start = slab.filled
            let stamp = nextStamp
            let shape = newShape(size)
            newShapes.append(shape)
            nextStamp &+= 1
            let head = shape.head(size: size)
            _ = slab.fill { memory in
                memory.copyBytes(from: head)
                memory.storeBytes(of: stamp, toByteOffset: head.count, as: UInt32.self)
                return size
            }
            if let last = runs.last, last.slab === slab, Int(last.end) == start {
                runs[runs.count - 1].end = UInt32(slab.filled)
                runs[runs.count - 1].count += 1
            } else {
                runs.append(Run(slab: slab, bytes: start..<slab.filled, count: 1))
            }
        }
        return runs
    }

    /// Some events have a key, few an empty one, as far as there is room for it.
    private mutating func newShape(_ size: Int) -> Shape {
        var shape = Shape()
        if keyedIn > 0, roll(keyedIn) == 0 {
            // Hot keys and cold ones.
            let key = roll(2) == 0 ? roll(2) : roll(Shape.keys.count)
            shape.key = roll(20) == 0 ? 1 : UInt8(2 + key)
        }
        shape.hasHeader = roll(4) == 0
        return shape.headBytes + 4 <= size ? shape : Shape()
    }

    /// The records are those that were published under these offsets.
    mutating func checkContent(_ run: Run) {
        let isRight = run.slab.withUnsafeBytes(run.bytes) { bytes in
            var position = 0
            for offset in run.offset..<run.endOffset {
                guard position + 4 <= bytes.count else { return false }
                let first = bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self)
                let size = Record.headBytes + Int(UInt32(bigEndian: first) & 0xFF_FFFF)
                let head = shape(at: offset).head(size: size)
                guard position + size <= bytes.count,
                    bytes[position..<position + head.count].elementsEqual(head)
                else { return false }
                let stamp = bytes.loadUnaligned(
                    fromByteOffset: position + head.count,
                    as: UInt32.self
                )
                guard stamp == stamps[Int(offset)] else { return false }
                position += size
            }
            return position == bytes.count
        }
        if !isRight { violations.append("offset \(run.offset) carries something else") }
    }
}
