"""Trial of two Kafka clients for asyncio: aiokafka, which the Kafka log uses, and confluent-kafka (librdkafka).

confluent-kafka is no dependency of langlog: `pip install confluent-kafka` first (measured with 2.16.1).
"""
