"""The web page: Gradio components and the scripts and styles behind them."""
