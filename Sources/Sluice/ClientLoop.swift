import Glibc
import SluiceNet
import Synchronization

/// The event loop that the clients of a process share; it runs as long as the process.
final class ClientLoop: Sendable {
    static let shared: Result<ClientLoop, ClientError> = Result { () throws(ClientError) in
        try ClientLoop()
    }

    let loop: EventLoop
    private let thread = Atomic<UInt>(0)
    // Confined to the loop.
    private nonisolated(unsafe) var dirty: [Connector] = []
    private nonisolated(unsafe) var tasks: [UnownedJob] = []
    private nonisolated(unsafe) var isRunningTasks = false

    init() throws(ClientError) {
        do {
            loop = try EventLoop(label: "sluice.client")
        } catch {
            throw ClientError(.unreachable, "no event loop: \(error)")
        }
        loop.start()
        loop.submit { [self] in
            thread.store(UInt(pthread_self()), ordering: .relaxed)
            loop.onEndOfTurn { [unowned self] in endTurn() }
        }
    }

    /// Has `connector` written out at the end of the turn, with all that the turn still brings.
    func markDirty(_ connector: Connector) {
        loop.assertOnLoop()
        guard !connector.isDirty else { return }
        connector.isDirty = true
        dirty.append(connector)
    }

    /// Runs `job` on the loop: at once for a task that runs there.
    func perform(_ job: @escaping EventLoop.Job) {
        if isOnLoop, isRunningTasks { job() } else { loop.submit(job) }
    }

    private var isOnLoop: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    private func endTurn() -> Bool {
        runTasks()
        flush()
        return !dirty.isEmpty || !tasks.isEmpty
    }

    private func flush() {
        let connectors = dirty
        dirty.removeAll(keepingCapacity: true)
        for connector in connectors {
            connector.isDirty = false
            if connector.flush() { markDirty(connector) }
        }
    }
}

extension ClientLoop: TaskExecutor {
    func enqueue(_ job: consuming ExecutorJob) {
        let task = UnownedJob(job)
        if isOnLoop {
            tasks.append(task)
        } else {
            loop.submit { [self] in tasks.append(task) }
        }
    }

    /// Runs what is due now; tasks that these wake wait for the next turn.
    private func runTasks() {
        guard !tasks.isEmpty else { return }
        let due = tasks
        tasks = []
        isRunningTasks = true
        for task in due { task.runSynchronously(on: asUnownedTaskExecutor()) }
        isRunningTasks = false
    }
}
