# The jobs of test_sidekiq; loaded by sidekiq's process and by sidekiq_push.rb.
require "sidekiq"

url = { url: "redis://127.0.0.1:#{ENV.fetch("PORT")}/0" }
Sidekiq.configure_client { |config| config.redis = url }
Sidekiq.configure_server do |config|
  config.redis = url
  config.options[:poll_interval_average] = 1
end

class Add
  include Sidekiq::Worker

  def perform(number)
    Sidekiq.redis { |redis| redis.multi { |all| all.sadd("done", [number]); all.incr("runs") } }
  end
end

class Fail
  include Sidekiq::Worker
  sidekiq_options retry: 1
  sidekiq_retry_in { 1 }

  def perform
    Sidekiq.redis { |redis| redis.incr("tries") }
    raise "on purpose"
  end
end
