# sidekiq_push.rb JOBS [retry]: pushes jobs, waits until they are done, tells what came of them.
require_relative "sidekiq_jobs"
require "sidekiq/api"

count = Integer(ARGV[0])
fails = ARGV[1] == "retry"
half = count / 2
half.times { |number| Add.perform_async(number) }
Sidekiq::Client.push_bulk("class" => Add, "args" => (half...count).map { |number| [number] })
Add.perform_in(1, count)
Fail.perform_async if fails

def value(&block) = Sidekiq.redis(&block)

till = Time.now + 90
until value { |redis| redis.scard("done") } == count + 1 && (!fails || Sidekiq::DeadSet.new.size == 1)
  abort "not done within 90 s: #{value { |redis| redis.scard("done") }} of #{count + 1}" if Time.now > till
  sleep 0.05
end
puts [value { |redis| redis.get("runs") }, value { |redis| redis.get("tries") } || 0, Sidekiq::Stats.new.enqueued,
      Sidekiq::ProcessSet.new.size].join(" ")
