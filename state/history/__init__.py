"""Reading back what happened, also beside a running trader."""
