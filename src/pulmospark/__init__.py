"""pulmospark: COVID-19 and pneumonia detectors from chest X-rays, on Apache Spark.

Research software, not a medical device.
"""

__version__ = "0.1.0"
NOT_A_MEDICAL_DEVICE = (
    "Research software, not a medical device: no output of it may guide the care of a person."
)
